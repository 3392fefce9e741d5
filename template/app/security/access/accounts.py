"""People and service accounts: find, create, disable. Plain functions on a database session, without HTTP."""

import hashlib
import secrets
import string
from collections.abc import Iterable
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.known_roles import believed
from app.security.core import events
from app.security.core.events import Event
from app.security.core.tables import (
    UNUSABLE_PASSWORD,
    Account,
    AccountRole,
    ApiKey,
    Session,
    is_login_name,
    normalise_login,
    utc_now,
)

_ALPHABET = string.digits + string.ascii_letters


class AccountError(Exception):
    """An operation on an account that is refused; the message is for the user."""


class BadName(AccountError):
    """A name that nobody could log in with."""


class AccountExists(AccountError):
    """Another account has this login name, or one that folds to it."""


class UnknownAccount(AccountError):
    """There is no account with this name."""


def random_token(prefix: str) -> str:
    """`prefix_` and 43 base62 characters: 256 random bits."""
    return f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(43))


def token_hash(token: str) -> bytes:
    """How a random token is stored: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def create(
    db: AsyncSession,
    name: str,
    *,
    kind: Literal["person", "service"] = "person",
    password_hash: str | None = None,
    roles: Iterable[str] = (),
) -> Account:
    """A new account; a person without a password hash waits for an invitation.

    Raises: AccountExists, BadName.
    """
    if not is_login_name(name):
        raise BadName("A name has 1 to 254 visible characters, and no space around them.")
    stored = None if kind == "service" else (password_hash or UNUSABLE_PASSWORD)
    account = Account(kind=kind, name=name, login=normalise_login(name), password_hash=stored)
    try:
        async with db.begin_nested():
            db.add(account)
            await db.flush()
    except IntegrityError:
        raise AccountExists("That name is taken.") from None
    db.add_all([AccountRole(account_id=account.id, role=role) for role in sorted(set(roles))])
    await db.flush()
    events.record_change(db, Event.USER_CREATED, subject=account.id, reason=kind)
    return account


async def by_name(db: AsyncSession, name: str) -> Account:
    """Raises: UnknownAccount."""
    account = await db.scalar(select(Account).where(Account.login == normalise_login(name)))
    if account is None:
        raise UnknownAccount("No such account.")
    return account


async def roles_of(db: AsyncSession, account: UUID) -> frozenset[str]:
    """Those that this project has."""
    return believed(await _stored_roles(db, account))


async def _stored_roles(db: AsyncSession, account: UUID) -> list[str]:
    return list(await db.scalars(select(AccountRole.role).where(AccountRole.account_id == account)))


async def set_roles(db: AsyncSession, account: UUID, roles: Iterable[str], *, actor: UUID | None = None) -> str:
    """Replace the roles of an account; what changed, as `before->after`."""
    wanted, before = sorted(set(roles)), sorted(await _stored_roles(db, account))
    await db.execute(delete(AccountRole).where(AccountRole.account_id == account))
    db.add_all([AccountRole(account_id=account, role=role) for role in wanted])
    await db.flush()
    change = f"{','.join(before)}->{','.join(wanted)}"
    events.record_change(db, Event.AUTHZ_CHANGE, actor=actor, subject=account, reason=change)
    return change


async def end_sessions(db: AsyncSession, account: UUID, *, keep: UUID | None = None) -> None:
    """End every session of an account, but one that is kept."""
    live = (Session.account_id == account, Session.ended_at.is_(None))
    kept = () if keep is None else (Session.id != keep,)
    await db.execute(update(Session).where(*live, *kept).values(ended_at=utc_now()))


async def end_every_session(db: AsyncSession) -> None:
    """End every session of everybody, those too that a log-in is about to commit: it holds its account until then."""
    people = select(Account.id).where(Account.kind == "person").order_by(Account.id)
    await db.execute(people.with_for_update())
    await db.execute(update(Session).where(Session.ended_at.is_(None)).values(ended_at=utc_now()))


async def revoke_keys(db: AsyncSession, account: UUID) -> int:
    """End every API key of an account at once; also those from before keys were switched off in this project.

    How many they were.
    """
    live = (ApiKey.account_id == account, ApiKey.revoked_at.is_(None), ApiKey.expires_at > utc_now())
    ended = update(ApiKey).where(*live).values(revoked_at=utc_now()).returning(ApiKey.id)
    keys = (await db.scalars(ended)).all()
    for key in keys:
        events.record_change(db, Event.KEY_REVOKED, subject=key)
    return len(keys)


async def set_active(db: AsyncSession, account: Account, active: bool) -> None:
    """Disable or enable; disabling ends every session in the same transaction."""
    account.is_active = active
    if not active:
        account.token_version += 1
        await end_sessions(db, account.id)
    await db.flush()
    events.record_change(db, Event.USER_UPDATED, subject=account.id, reason="enabled" if active else "disabled")


async def any_person(db: AsyncSession) -> bool:
    return bool(await db.scalar(select(exists().where(Account.kind == "person"))))
