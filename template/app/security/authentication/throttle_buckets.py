"""Counting in a moving window, in rows that are locked while they are looked at.

One row is one bucket; its key is an HMAC that the caller made. Rows that belong to no account are bounded.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count as counter
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Row, Table, and_, bindparam, delete, not_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.core.tables import ThrottleBucket, utc_now

FAILURES_IN_A_ROW = 100  # then the row stays until somebody clears it
LONGEST_WINDOW_SECONDS = 3600
FORGOTTEN_AFTER = timedelta(days=30)
BUCKETS_OF_NOBODY = 50_000  # rows for sources and for names that do not exist
LOOKED_AT_EVERY = 20  # transactions
SURPLUS_AT_ONCE = 1000
MOST_ATTEMPTS = 500  # kept in one row
_turns = counter(1)


class Limit(NamedTuple):
    attempts: int
    seconds: int


Limits = dict[bytes, tuple[Limit, ...]]
"""What holds for each bucket."""


# Built once: under a flood of log-ins, building statements and mapping rows would take most of the event loop's time.
_TABLE = cast(Table, ThrottleBucket.__table__)
_MAKE: dict[str, Any] = {
    "sqlite": sqlite.insert(_TABLE).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_TABLE).on_conflict_do_nothing(),
}
# In one order, so that two who want the same rows do not wait for each other.
_LOCK = (
    select(_TABLE)
    .where(_TABLE.c.key_hash.in_(bindparam("keys", expanding=True)))
    .order_by(_TABLE.c.key_hash)
    .with_for_update()
)
_STORE = update(_TABLE).where(_TABLE.c.key_hash == bindparam("key"))


@dataclass(slots=True)
class Bucket:
    """One row, as it was when it was locked; `times` are milliseconds since 1970."""

    times: list[int]
    failures_in_a_row: int
    permanent: bool


async def locked(db: AsyncSession, keys: Collection[bytes], permanent: Collection[bytes] = ()) -> dict[bytes, Bucket]:
    """The rows of these keys, made where missing, held by us until the transaction ends."""
    found = await _made_and_locked(db, keys, permanent)
    while len(found) < len(keys):  # somebody dropped a row after we saw it and before we held it
        found = await _made_and_locked(db, keys, permanent)
    await _forget_nobody(db, keys)
    return {
        row.key_hash: Bucket([int(time) for time in row.attempts.split()], row.failures_in_a_row, row.permanent)
        for row in found
    }


async def _made_and_locked(
    db: AsyncSession, keys: Collection[bytes], permanent: Collection[bytes]
) -> Sequence[Row[Any]]:
    rows = [
        {
            "key_hash": key,
            "attempts": "",
            "failures_in_a_row": 0,
            "permanent": key in permanent,
            "updated_at": utc_now(),
        }
        for key in sorted(keys)
    ]
    await db.execute(_MAKE[db.get_bind().dialect.name], rows)
    return (await db.execute(_LOCK, {"keys": list(keys)})).all()


async def count(
    db: AsyncSession, buckets: dict[bytes, Bucket], wanted: Limits, permanent: Collection[bytes] = ()
) -> int:
    """Count one attempt in each wanted bucket, or in none: then how many milliseconds it has to wait."""
    now = int(utc_now().timestamp() * 1000)
    waits = [_wait(buckets[key].times, limit, now) for key, limits in wanted.items() for limit in limits]
    if any(waits):
        return max(waits)
    await db.execute(_STORE, [_counted(key, buckets[key], now, key in permanent) for key in wanted])
    return 0


def _counted(key: bytes, bucket: Bucket, now: int, permanent: bool) -> dict[str, object]:
    recent = [time for time in bucket.times if time > now - LONGEST_WINDOW_SECONDS * 1000]
    return {
        "key": key,
        "attempts": " ".join(map(str, [*recent[-MOST_ATTEMPTS:], now])),
        "failures_in_a_row": bucket.failures_in_a_row + 1,
        "permanent": bucket.permanent or permanent,  # what was tried before the account existed counts too
        "updated_at": utc_now(),
    }


def _wait(times: list[int], limit: Limit, now: int) -> int:
    """Milliseconds until one more attempt fits into this moving window; 0 if it does now."""
    recent = [time for time in times if time > now - limit.seconds * 1000]
    if len(recent) < limit.attempts:
        return 0
    return recent[-limit.attempts] + limit.seconds * 1000 - now


async def forget_unused(db: AsyncSession, buckets: dict[bytes, Bucket]) -> None:
    """Drop the rows that were made for an attempt that was then refused: they hold nothing."""
    unused = [key for key, bucket in buckets.items() if not bucket.times]
    await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(unused), ThrottleBucket.attempts == ""))


def is_stale() -> ColumnElement[bool]:
    """Rows that hold nothing any more: untouched for long, and no account's hundred failures in a row."""
    kept = and_(ThrottleBucket.permanent, ThrottleBucket.failures_in_a_row >= FAILURES_IN_A_ROW)
    return and_(ThrottleBucket.updated_at < utc_now() - FORGOTTEN_AFTER, not_(kept))


async def _forget_nobody(db: AsyncSession, but: Collection[bytes]) -> None:
    """Rows of no account are bounded in number; looked at now and then."""
    if next(_turns) % LOOKED_AT_EVERY:
        return
    of_nobody = ThrottleBucket.permanent.is_(False), ThrottleBucket.key_hash.not_in(but)
    newest = select(ThrottleBucket.key_hash).where(*of_nobody).order_by(ThrottleBucket.updated_at.desc())
    surplus = (await db.scalars(newest.offset(BUCKETS_OF_NOBODY).limit(SURPLUS_AT_ONCE))).all()
    if surplus:
        await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(surplus)))
