"""Counting in a moving window, in rows that are locked while they are looked at.

One row is one bucket; its key is an HMAC that the caller made. Rows that belong to no account are bounded.
"""

from collections.abc import Collection
from datetime import timedelta
from itertools import count as counter
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.tables import ThrottleBucket, utc_now

LONGEST_WINDOW_SECONDS = 3600
FORGOTTEN_AFTER = timedelta(days=30)
BUCKETS_OF_NOBODY = 50_000  # rows for sources and for names that do not exist
LOOKED_AT_EVERY = 20  # transactions that make a row
SURPLUS_AT_ONCE = 1000
MOST_ATTEMPTS = 500  # kept in one row
_turns = counter(1)


class Limit(NamedTuple):
    attempts: int
    seconds: int


Limits = dict[bytes, tuple[Limit, ...]]
"""What holds for each bucket."""


async def locked(
    db: AsyncSession, keys: Collection[bytes], permanent: Collection[bytes] = ()
) -> dict[bytes, ThrottleBucket]:
    """The rows of these keys, made where missing, held by us until the transaction ends."""
    rows = [{"key_hash": key, "permanent": key in permanent, "updated_at": utc_now()} for key in sorted(keys)]
    dialect = postgresql if db.get_bind().dialect.name == "postgresql" else sqlite
    if await changed_rows(db, dialect.insert(ThrottleBucket).values(rows).on_conflict_do_nothing()):
        await _forget_nobody(db)
    # In one order, so that two who want the same rows do not wait for each other.
    wanted = select(ThrottleBucket).where(ThrottleBucket.key_hash.in_(keys)).order_by(ThrottleBucket.key_hash)
    buckets = {bucket.key_hash: bucket for bucket in await db.scalars(wanted.with_for_update())}
    for key in permanent:
        buckets[key].permanent = True  # what was tried before the account existed counts too
    return buckets


def count(buckets: dict[bytes, ThrottleBucket], wanted: Limits) -> int:
    """Count one attempt in each wanted bucket, or in none: then how many milliseconds it has to wait."""
    now = int(utc_now().timestamp() * 1000)
    waits = [_wait(_times(buckets[key]), limit, now) for key, limits in wanted.items() for limit in limits]
    if any(waits):
        return max(waits)
    for bucket in map(buckets.__getitem__, wanted):
        recent = [time for time in _times(bucket) if time > now - LONGEST_WINDOW_SECONDS * 1000]
        bucket.attempts = " ".join(map(str, [*recent[-MOST_ATTEMPTS:], now]))
        bucket.failures_in_a_row += 1
        bucket.updated_at = utc_now()
    return 0


def _times(bucket: ThrottleBucket) -> list[int]:
    return [int(time) for time in bucket.attempts.split()]


def _wait(times: list[int], limit: Limit, now: int) -> int:
    """Milliseconds until one more attempt fits into this moving window; 0 if it does now."""
    recent = [time for time in times if time > now - limit.seconds * 1000]
    if len(recent) < limit.attempts:
        return 0
    return recent[-limit.attempts] + limit.seconds * 1000 - now


async def _forget_nobody(db: AsyncSession) -> None:
    """Rows that belong to no account are bounded, in time and in number; looked at now and then."""
    if next(_turns) % LOOKED_AT_EVERY:
        return
    of_nobody = ThrottleBucket.permanent.is_(False)
    stale = ThrottleBucket.updated_at < utc_now() - FORGOTTEN_AFTER
    await db.execute(delete(ThrottleBucket).where(of_nobody, stale))
    newest = select(ThrottleBucket.key_hash).where(of_nobody).order_by(ThrottleBucket.updated_at.desc())
    surplus = (await db.scalars(newest.offset(BUCKETS_OF_NOBODY).limit(SURPLUS_AT_ONCE))).all()
    if surplus:
        await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(surplus)))
