"""The rows behind API keys: issue, list, rotate, revoke. Plain functions on a database session, without HTTP."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.access.accounts import token_hash
from app.security.core import events
from app.security.core.events import Event
from app.security.core.settings import Environment, SecuritySettings, environment
from app.security.core.tables import Account, ApiKey, utc_now
from app.security.keys.key_format import new_key

LONGEST_DAYS = 365
DEFAULT_DAYS = 90
LONGEST_NAME = 100
LONGEST_SCOPES = 4096


class KeySettings(SecuritySettings):
    api_keys_per_account: int = Field(10, ge=1, le=100)
    api_key_overlap_hours: int = Field(24, ge=0, le=24)  # that a rotated key goes on, at most


class TooManyKeys(Exception):
    """This account has as many live keys as it may have."""


class KeyGone(Exception):
    """This key has ended, or was rotated before."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; the text is known only here."""

    row: ApiKey
    text: str


def is_live() -> list[ColumnElement[bool]]:
    """The key opens something."""
    return [ApiKey.revoked_at.is_(None), ApiKey.expires_at > utc_now()]


async def issue(
    db: AsyncSession,
    account: UUID,
    name: str,
    scopes: Iterable[str],
    life: timedelta,
    *,
    for_environment: Environment | None = None,
) -> NewKey:
    """A new key for an account, for a year at most; it opens this environment unless another is named.

    Raises: TooManyKeys.
    """
    # Held until we commit, so that two at once do not both see room.
    await db.execute(select(Account.id).where(Account.id == account).with_for_update())
    room, live = KeySettings.current().api_keys_per_account, await live_keys(db, account)
    if len([key for key in live if key.replaced_at is None]) >= room or len(live) >= 2 * room:
        raise TooManyKeys
    text, public_id = new_key(for_environment or environment())
    row = ApiKey(account_id=account, name=name, public_id=public_id, created_at=utc_now())
    row.key_hash, row.last_four = token_hash(text), text[-4:]
    row.scopes = " ".join(sorted(set(scopes)))
    row.expires_at = row.created_at + min(life, timedelta(days=LONGEST_DAYS))
    db.add(row)
    await db.flush()
    events.record_change(db, Event.KEY_CREATED, subject=row.id)
    return NewKey(row, text)


async def live_keys(db: AsyncSession, account: UUID) -> list[ApiKey]:
    """Newest first."""
    mine = select(ApiKey).where(ApiKey.account_id == account, *is_live())
    return list(await db.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id)))


async def live_key(db: AsyncSession, account: UUID, key: UUID) -> ApiKey | None:
    """One live key of this account, held by us until the transaction ends."""
    mine = (ApiKey.id == key, ApiKey.account_id == account)
    return await db.scalar(select(ApiKey).where(*mine, *is_live()).with_for_update())


def longest_overlap() -> timedelta:
    return timedelta(hours=KeySettings.current().api_key_overlap_hours)


async def rotate(
    db: AsyncSession, key: ApiKey, overlap: timedelta, *, for_environment: Environment | None = None
) -> NewKey:
    """A successor with the same name, scopes and life; the old key ends after the overlap.

    Raises: KeyGone, TooManyKeys.
    """
    life, now = key.expires_at - key.created_at, utc_now()
    ends = min(key.expires_at, now + min(overlap, longest_overlap()))
    unchanged = (ApiKey.id == key.id, ApiKey.replaced_at.is_(None), ApiKey.revoked_at.is_(None))
    if await changed_rows(db, update(ApiKey).where(*unchanged).values(replaced_at=now, expires_at=ends)) != 1:
        raise KeyGone
    successor = await issue(db, key.account_id, key.name, key.scopes.split(), life, for_environment=for_environment)
    events.record_change(db, Event.KEY_ROTATED, subject=key.id)
    return successor


async def revoke(db: AsyncSession, key: ApiKey) -> None:
    """End a key at once."""
    key.revoked_at = utc_now()
    await db.flush()
    events.record_change(db, Event.KEY_REVOKED, subject=key.id)
