"""API keys: their format, and their rows in the database. Plain functions, without HTTP.

A key is `<slug>_<live|test>_<id>_<secret><checksum>`. The id finds the row, the secret is 256 random bits, and the
checksum is the CRC-32 of everything before it: noise is refused without a query, and secret scanners can verify a find.
All three are base62. A live key is valid in production, a test key in development.
"""

import os
import re
import zlib
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.access.accounts import BASE62, AccountError, base62, forget, lock, token_hash
from app.security.core.events import Event, record_change
from app.security.core.settings import SLUG, SecuritySettings, environment, problems
from app.security.core.tables import ApiKey, utc_now

LONGEST_DAYS = 365
DEFAULT_DAYS = 90
LONGEST_KEY_NAME = 100
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 11, 43, 6  # 43 base62 characters are 256 bits
MODES = {"production": "live", "development": "test"}

_KEY = re.compile(
    rf"{re.escape(SLUG)}_(live|test)_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}\Z"
)


class KeySettings(SecuritySettings):
    api_keys_per_account: int = Field(10, ge=1, le=100)
    api_key_overlap_hours: int = Field(24, ge=0, le=24)  # the most that a rotated key stays valid


class NewKey(NamedTuple):
    """A key that was just issued. Its text is stored nowhere."""

    row: ApiKey
    text: str


def new_key(environment: str) -> tuple[str, str]:
    """A new key and the public id in it."""
    public_id = base62(ID_LENGTH)
    start = f"{SLUG}_{MODES[environment]}_{public_id}_{base62(SECRET_LENGTH)}"
    return start + checksum(start), public_id


def parse(text: str) -> tuple[str, str] | None:
    """The mode and the public id of a well-formed key, or None."""
    match = _KEY.match(text)
    if match is None or checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return match[1], match[2]


def checksum(text: str) -> str:
    """The CRC-32 of an ASCII text as six base62 digits, the most significant first."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def _environment() -> str:
    """Without FASTAPI_ENV, settings that production refuses can only be those of a developer's machine."""
    return environment() if os.environ.get("FASTAPI_ENV") or not problems() else "development"


def is_live() -> list[ColumnElement[bool]]:
    """The conditions of a key that is neither revoked nor expired."""
    return [ApiKey.revoked_at.is_(None), ApiKey.expires_at > utc_now()]


async def issue(db: AsyncSession, account: UUID, name: str, scopes: Iterable[str], life: timedelta) -> NewKey:
    """A new key of an account, for a year at most. Raises: AccountError when the account has its maximum.

    Keys that were rotated and are about to end do not count, up to as many again.
    """
    # Lock the account until the commit: two requests at once must not both take the last place.
    await lock(db, account)
    most, live = KeySettings.current().api_keys_per_account, await live_keys(db, account)
    if len([key for key in live if key.replaced_at is None]) >= most or len(live) >= 2 * most:
        raise AccountError(f"This account has the maximum of {most} keys: revoke one first.")
    text, public_id = new_key(_environment())
    row = ApiKey(account_id=account, name=name, public_id=public_id, created_at=utc_now())
    row.key_hash, row.last_four = token_hash(text), text[-4:]
    row.scopes = " ".join(sorted(set(scopes)))
    row.expires_at = row.created_at + min(life, timedelta(days=LONGEST_DAYS))
    db.add(row)
    await db.flush()
    record_change(db, Event.KEY_CREATED, subject=row.id)
    return NewKey(row, text)


async def live_keys(db: AsyncSession, account: UUID) -> list[ApiKey]:
    """The live keys of an account, newest first."""
    mine = select(ApiKey).where(ApiKey.account_id == account, *is_live())
    return list(await db.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id)))


async def live_key(db: AsyncSession, account: UUID, key: UUID) -> ApiKey | None:
    """One live key of an account, locked until the transaction ends."""
    mine = (ApiKey.id == key, ApiKey.account_id == account)
    return await db.scalar(select(ApiKey).where(*mine, *is_live()).with_for_update())


async def rotate(db: AsyncSession, key: ApiKey, overlap_hours: int) -> NewKey:
    """A successor with the same name, scopes and life; the old key ends after the overlap. Raises: AccountError."""
    life, now = key.expires_at - key.created_at, utc_now()
    overlap = timedelta(hours=min(overlap_hours, KeySettings.current().api_key_overlap_hours))
    unchanged = (ApiKey.id == key.id, ApiKey.replaced_at.is_(None), ApiKey.revoked_at.is_(None))
    ending = update(ApiKey).where(*unchanged).values(replaced_at=now, expires_at=min(key.expires_at, now + overlap))
    if await changed_rows(db, ending) != 1:
        raise AccountError("This key was rotated or revoked before.")
    successor = await issue(db, key.account_id, key.name, key.scopes.split(), life)
    record_change(db, Event.KEY_ROTATED, subject=key.id)
    forget(db, key.account_id)
    return successor
