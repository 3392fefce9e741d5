"""A person's own account: show it, change the password, choose one with an invitation, erase the account.

An invitation is a one-time token that sets a password, the first one or a forgotten one. It is as powerful as a
password. So it stores its issuer, and ends with the issuer's power: disabled, another role or password, sessions ended
(ASVS 5.0 V6.4.1, V7.4.3). A token for a forgotten password is an invitation that the account issues to itself.
"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import Select, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.database import Database, changed_rows
from app.security.access import accounts
from app.security.access.identity import Caller, invalid, public
from app.security.admission.request_guard import accepts
from app.security.authentication import sessions, throttle
from app.security.authentication.login import PasswordLogin
from app.security.authentication.passwords import PasswordHasher, WeakPassword
from app.security.authentication.recent_login import GrantingSession
from app.security.authentication.routes import TokenOut, known_scopes, token_response
from app.security.authentication.throttle import ClientInfo
from app.security.core import events
from app.security.core.events import Event
from app.security.core.problems import Problem, conflict
from app.security.core.tables import UNUSABLE_PASSWORD, Account, OneTimeToken, utc_now

router = APIRouter()

INVITATION_LIFE = timedelta(hours=24)
small_body = accepts("application/json", max_bytes=16 * 1024)  # thousands of unknown members are slow to report

# The password policy, not the model, judges it: a weak password gets a reason.
Password = Annotated[str, Field(max_length=4096, json_schema_extra={"format": "password", "writeOnly": True})]
password_changed = conflict("The password was changed in the meantime")


class UserSelf(BaseModel):
    id: UUID
    name: str = Field(examples=["you@example.com"])
    roles: list[str]


class PasswordChange(BaseModel, extra="forbid", strict=True):
    current_password: Password
    new_password: Password
    keep_other_sessions: bool = False
    # {% if features.api_keys.enabled %}
    keep_api_keys: bool = False
    # {% endif %}


class Activation(BaseModel, extra="forbid", strict=True):
    token: Annotated[str, Field(max_length=128, json_schema_extra={"writeOnly": True})]
    password: Password


@router.get("/users/me", tags=["users"])
async def read_me(caller: Caller) -> UserSelf:
    return UserSelf(id=caller.id, name=caller.name, roles=sorted(caller.roles))


@router.post("/users/me/password", tags=["users"], responses=password_changed)
async def change_password(request: Request, change: PasswordChange, caller: Caller, client: ClientInfo) -> TokenOut:
    """Needs the current password too. Ends every other session and API key unless asked to keep them.

    Every token of this session ends with it; the response holds new ones.
    """
    database: Database = request.state.database
    login: PasswordLogin = request.state.password_login
    async with database.begin() as db:
        account = await db.get(Account, caller.id)
    if account is None:  # deleted a moment ago
        raise invalid(request, "session_ended")
    if not await login.check(account, change.current_password, client):
        events.record(Event.PASSWORD_CHANGE_FAIL, outcome="failure", actor=caller.id)
        raise Problem(400, "wrong-password", "The current password is wrong.")
    new_hash = await _checked_hash(request, "/body/new_password", change.new_password, account.name)
    async with database.begin() as db:
        changed = await _set_password(db, account, new_hash)
        await accounts.withdraw_invitations(db, caller.id)
        if not change.keep_other_sessions:
            await accounts.end_sessions(db, caller.id, keep=caller.credential.id)
        if not getattr(change, "keep_api_keys", False):  # a project without keys ends older ones
            await accounts.revoke_keys(db, caller.id)
        grant = await sessions.renew(db, changed, caller.credential.id, client)
        events.record_change(db, Event.PASSWORD_CHANGE, actor=caller.id)
    return token_response(grant, known_scopes(request))


@router.delete("/users/me", tags=["users"], status_code=204)
async def delete_me(caller: Caller, db: GrantingSession) -> None:
    """Erase one's own account and what belongs to it, after a recent login. An administrator is erased by another."""
    if accounts.ADMINISTRATOR in await accounts.roles_of(db, caller.id):
        raise Problem(409, detail="Another administrator deletes your account, or takes your role before.")
    await delete_account(db, await db.get_one(Account, caller.id))


@router.post(
    "/auth/activate", tags=["auth"], status_code=204, dependencies=[public, small_body], responses=password_changed
)
async def activate(request: Request, activation: Activation, client: ClientInfo) -> None:
    """Set a password with an invitation: the first one, or after it was forgotten. It does not log in."""
    database: Database = request.state.database
    await throttle.count_source(database, client, "token")
    async with database.begin() as db:
        account = await db.scalar(_invited(activation.token))
    if account is None:
        raise _invalid_token()
    new_hash = await _checked_hash(request, "/body/password", activation.password, account.name)
    async with database.begin() as db:
        if await _use(db, activation.token) is None:
            raise _invalid_token()
        await _set_password(db, account, new_hash)
        await accounts.end_sessions(db, account.id)
        await accounts.revoke_keys(db, account.id)
        await throttle.unlock(db, account.login)
        events.record_change(db, Event.INVITATION_USED, actor=account.id)


async def invite(db: AsyncSession, account: Account, issuer: UUID | None = None) -> str:
    """A token for 24 hours; earlier invitations are withdrawn. A disabled person's password ends: it may be stolen."""
    if not account.is_active:
        account.password_hash = UNUSABLE_PASSWORD
    await accounts.withdraw_invitations(db, account.id)
    issued = None if issuer is None else await db.get_one(Account, issuer)
    return new_token(db, account, issued, INVITATION_LIFE)


def new_token(
    db: AsyncSession, account: Account, issuer: Account | None, life: timedelta, reason: str | None = None
) -> str:
    token = sessions.random_token("ot")
    db.add(
        OneTimeToken(
            account_id=account.id,
            token_hash=accounts.token_hash(token),
            expires_at=utc_now() + life,
            issuer_id=issuer.id if issuer else None,
            issuer_version=issuer.token_version if issuer else None,
        )
    )
    events.record_change(db, Event.INVITATION_CREATED, subject=account.id, reason=reason)
    return token


async def delete_account(db: AsyncSession, account: Account) -> None:
    """Delete a person with their sessions, keys and invitations, and what references them ON DELETE CASCADE.

    Its credentials end with the commit. Audit rows and log lines keep the id and addresses until they are pruned, as do
    login counters per address (HMACs). It does not check who asks, nor whether an administrator is left.
    Raises: AccountError when another foreign key references it, and nothing is deleted.
    """
    person = account.id
    await accounts.lock(db, person)
    await throttle.unlock(db, account.login)
    await accounts.withdraw_invitations(db, person)  # the issuer of an invitation is no foreign key
    try:
        async with db.begin_nested():
            if await changed_rows(db, delete(Account).where(Account.id == person)) != 1:
                raise accounts.UnknownAccount("No such account.")
    except IntegrityError:
        raise accounts.AccountError("Rows that must be kept reference it: foreign keys without ondelete.") from None
    events.record_change(db, Event.USER_DELETED, subject=person)
    accounts.forget(db, person)


async def _use(db: AsyncSession, token: str) -> Account | None:
    """Use up an invitation; of two requests at once, one gets the account."""
    row = await db.scalar(select(OneTimeToken).where(OneTimeToken.token_hash == accounts.token_hash(token)))
    if row is None:
        return None
    # Both accounts in one order, so that revoking the issuer's power commits before, and is seen, or waits.
    concerned = select(Account.id).where(Account.id.in_([row.account_id, row.issuer_id])).order_by(Account.id)
    await db.execute(concerned.with_for_update())
    account = await db.scalar(_invited(token).execution_options(populate_existing=True))
    if account is not None:
        await accounts.withdraw_invitations(db, account.id)
    return account


def _invited(token: str) -> Select[Account]:
    """The account of a valid invitation."""
    issuer = aliased(Account)
    joined = select(Account).join(OneTimeToken, OneTimeToken.account_id == Account.id)
    joined = joined.outerjoin(issuer, OneTimeToken.issuer_id == issuer.id)
    issuer_has_power = issuer.is_active & (issuer.token_version == OneTimeToken.issuer_version)
    return joined.where(
        OneTimeToken.token_hash == accounts.token_hash(token),
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > utc_now(),
        Account.is_active,
        Account.kind == "person",
        OneTimeToken.issuer_id.is_(None) | issuer_has_power,
    )


def _invalid_token() -> Problem:
    return Problem(400, "invalid-token", "This token is invalid or has expired.")


async def _checked_hash(request: Request, pointer: str, password: str, name: str) -> str:
    """The hash of a new password. Raises: Problem 422 with the reason when it is weak."""
    passwords: PasswordHasher = request.state.passwords
    try:
        await passwords.check_strength(password, name)
    except WeakPassword as weak:
        errors = [{"pointer": pointer, "detail": str(weak), "code": "weak_password"}]
        raise Problem(422, detail="The request is not valid.", errors=errors) from None
    return await passwords.hash(password)


async def _set_password(db: AsyncSession, account: Account, new_hash: str) -> Account:
    """The changed account. Raises: Problem 409 when the password was changed since `account` was read."""
    unchanged = (Account.id == account.id, Account.password_hash == account.password_hash, Account.is_active)
    values = {"password_hash": new_hash, "token_version": Account.token_version + 1}
    if await changed_rows(db, update(Account).where(*unchanged).values(**values)) != 1:
        raise Problem(409, detail="The password was changed in the meantime.")
    accounts.forget(db, account.id)
    return await db.get_one(Account, account.id)
