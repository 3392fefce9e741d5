"""Invitations: one-time tokens with which a person chooses a password, the first one or after it was forgotten."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.access.accounts import random_token, token_hash
from app.security.core import events
from app.security.core.events import Event
from app.security.core.tables import Account, OneTimeToken, utc_now

INVITATION_LIFE = timedelta(hours=24)


async def invite(db: AsyncSession, account: Account) -> str:
    """A one-time token to set a password with, for 24 hours; earlier ones end."""
    await db.execute(delete(OneTimeToken).where(OneTimeToken.account_id == account.id))
    token = random_token("ot")
    db.add(OneTimeToken(account_id=account.id, token_hash=token_hash(token), expires_at=utc_now() + INVITATION_LIFE))
    events.record_change(db, Event.INVITATION_CREATED, subject=account.id)
    return token


async def invited(db: AsyncSession, token: str) -> Account | None:
    """Whose invitation this is, if it is open and a person may log in with it."""
    found = OneTimeToken.token_hash == token_hash(token)
    is_open = (OneTimeToken.used_at.is_(None), OneTimeToken.expires_at > utc_now())
    may_log_in = (Account.is_active, Account.kind == "person")
    return await db.scalar(select(Account).join(OneTimeToken).where(found, *is_open, *may_log_in))


async def withdraw(db: AsyncSession, account: UUID) -> None:
    """No token that was handed out before sets a password any more."""
    await db.execute(delete(OneTimeToken).where(OneTimeToken.account_id == account))


async def use(db: AsyncSession, token: str) -> bool:
    """Use it up; of two at once, one succeeds."""
    found = OneTimeToken.token_hash == token_hash(token)
    unused = (OneTimeToken.used_at.is_(None), OneTimeToken.expires_at > utc_now())
    return await changed_rows(db, update(OneTimeToken).where(found, *unused).values(used_at=utc_now())) == 1
