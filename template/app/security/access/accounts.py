"""Accounts of people and services: find, create, change, disable, for routes and commands.

What is refused raises an `AccountError`. A stored role that this project does not have, such as a removed role, grants
nothing and is shown nowhere.
"""

import hashlib
import secrets
import string
from collections.abc import Iterable
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import after_commit
from app.security.access.credentials import RequestContext
from app.security.core.events import Event, current, record_change
from app.security.core.problems import Problem
from app.security.core.tables import (
    UNUSABLE_PASSWORD,
    Account,
    AccountRole,
    ApiKey,
    OneTimeToken,
    Session,
    is_displayable,
    normalise_login,
    utc_now,
)

ROLES: set[str] = set()  # of this project; `roles.py` adds them
ADMINISTRATOR = "admin"  # the role that administers people
LONGEST_LOGIN = 254
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


class AccountError(Problem):
    """An operation on an account that is refused; the message is for the user."""

    status = 409

    def __init__(self, message: str) -> None:
        super().__init__(self.status, detail=message)


class BadName(AccountError):
    """An invalid name."""

    status = 422


class AccountExists(AccountError):
    """Another account has this login name, or one that folds to it."""


class UnknownAccount(AccountError):
    """There is no account with this name."""

    status = 404


def base62(length: int) -> str:
    """Random characters, of nearly 6 bits each."""
    return "".join(secrets.choice(BASE62) for _ in range(length))


def token_hash(token: str) -> bytes:
    """How a random token is stored: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def check_name(name: str) -> None:
    """1 to 254 visible characters, no space around them, short enough when folded. Raises: BadName."""
    fits = 0 < len(name) <= LONGEST_LOGIN and len(normalise_login(name)) <= 1024
    if not fits or not is_displayable(name) or name != name.strip():
        raise BadName("A name has 1 to 254 visible characters, and no space around them.")


async def create(
    db: AsyncSession,
    name: str,
    *,
    kind: Literal["person", "service"] = "person",
    password_hash: str | None = None,
    roles: Iterable[str] = (),
) -> Account:
    """A new account. A person without a password hash needs an invitation. Raises: AccountExists, BadName."""
    check_name(name)
    if await find_account(db, name):  # a database writes the values of a duplicate into its log
        raise AccountExists("That name is taken.")
    stored = None if kind == "service" else (password_hash or UNUSABLE_PASSWORD)
    account = Account(kind=kind, name=name, login=normalise_login(name), password_hash=stored)
    try:
        async with db.begin_nested():
            db.add(account)
            await db.flush()
    except IntegrityError:
        raise AccountExists("That name is taken.") from None
    granted = sorted(set(roles))
    db.add_all([AccountRole(account_id=account.id, role=role) for role in granted])
    await db.flush()
    record_change(db, Event.USER_CREATED, subject=account.id, reason=kind)
    if granted:
        record_change(db, Event.AUTHZ_CHANGE, subject=account.id, reason=f"->{','.join(granted)}")
    return account


async def find_account(db: AsyncSession, name: str) -> Account | None:
    """The account that this name logs in to, in any spelling that folds to it; also a disabled one, or a service's.

    It does not check who looks: a route that shows whether a name exists enumerates accounts.
    """
    if len(name) > LONGEST_LOGIN or not name.strip().isprintable():  # a database refuses NUL and unpaired surrogates
        return None
    return await db.scalar(select(Account).where(Account.login == normalise_login(name)))


async def by_name(db: AsyncSession, name: str) -> Account:
    """Raises: UnknownAccount."""
    account = await find_account(db, name)
    if account is None:
        raise UnknownAccount("No such account.")
    return account


def forget(db: AsyncSession, account: UUID) -> None:
    """Drop what is cached of this account after the commit of this transaction, which revokes something of it."""
    context = current.get()
    if isinstance(context, RequestContext):  # a command has no cache
        after_commit(db, lambda: context.app.state.credentials.cache.forget(account))


async def lock(db: AsyncSession, account: UUID) -> None:
    """Lock an account until the transaction ends, so that a login or a grant under way commits first."""
    await db.execute(select(Account.id).where(Account.id == account).with_for_update())


def configured_roles(stored: Iterable[str | None]) -> frozenset[str]:
    """Those of an account's roles that this project has."""
    return frozenset(role for role in stored if role in ROLES)


async def roles_of(db: AsyncSession, account: UUID) -> frozenset[str]:
    """The roles of an account, without those that this project does not have."""
    return configured_roles(await db.scalars(select(AccountRole.role).where(AccountRole.account_id == account)))


async def end_sessions(db: AsyncSession, account: UUID, *, keep: UUID | None = None) -> None:
    """End every session of an account, except one to keep, and withdraw the invitations that it issued."""
    live = (Session.account_id == account, Session.ended_at.is_(None))
    kept = () if keep is None else (Session.id != keep,)
    await db.execute(update(Session).where(*live, *kept).values(ended_at=utc_now()))
    await db.execute(delete(OneTimeToken).where(OneTimeToken.issuer_id == account))
    forget(db, account)


async def withdraw_invitations(db: AsyncSession, account: UUID) -> None:
    """Withdraw the invitations for a person, and those that this person issued."""
    concerned = or_(OneTimeToken.account_id == account, OneTimeToken.issuer_id == account)
    await db.execute(delete(OneTimeToken).where(concerned))


async def revoke_keys(db: AsyncSession, account: UUID, *which: ColumnElement[bool], actor: UUID | None = None) -> int:
    """Revoke the API keys of an account, also in a project that has no keys any more. Returns their number."""
    live = (ApiKey.account_id == account, ApiKey.revoked_at.is_(None), ApiKey.expires_at > utc_now())
    ended = update(ApiKey).where(*live, *which).values(revoked_at=utc_now()).returning(ApiKey.id)
    keys = (await db.scalars(ended)).all()
    for key in keys:
        record_change(db, Event.KEY_REVOKED, actor=actor, subject=key)
    forget(db, account)
    return len(keys)


async def set_active(db: AsyncSession, account: Account, active: bool) -> None:
    """Disable or enable an account; disabling ends its sessions and invitations in the same transaction."""
    account.is_active = active
    if not active:
        await end_sessions(db, account.id)
        await withdraw_invitations(db, account.id)
    await db.flush()
    record_change(db, Event.USER_UPDATED, subject=account.id, reason="enabled" if active else "disabled")
