"""Whether the audit chain holds, and how old rows leave it. Rows are read in batches: their number takes no memory."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database import Database, changed_rows
from app.security import events
from app.security.audit_chain import EVENTS, ORIGIN, BrokenChain, Mark, read_mark, row_hash, write_mark
from app.security.events import Event

BATCH = 1000
RETENTION_DAYS = 365
PRUNED_AT_ONCE = 10_000


async def verify(database: Database, checkpoint: Mark | None = None) -> tuple[int, Mark]:
    """How many rows hold, and where the chain ends. Raises: BrokenChain, for the first row that does not."""
    async with database.read() as connection:
        while True:
            start = await read_mark(connection, "start") or ORIGIN
            try:
                head = await _walk(connection, start, checkpoint)
            except BrokenChain:
                if (await read_mark(connection, "start") or ORIGIN) == start:
                    raise
            else:  # and else it was pruned meanwhile
                return head.seq - start.seq, head


async def _walk(connection: AsyncConnection, start: Mark, checkpoint: Mark | None) -> Mark:
    first = await connection.scalar(select(func.min(EVENTS.c.seq)))
    if first is not None and first <= start.seq:
        raise BrokenChain(first, "was put in before the start of the chain")
    _compare(start, checkpoint)
    here = start
    head: Mark | None = None
    while head != here:
        while rows := await _batch(connection, here):
            for row in rows:
                here = _next(here, row)
                _compare(here, checkpoint)
        head = await read_mark(connection, "head") or ORIGIN
        if head.seq <= here.seq and head != here:
            raise BrokenChain(here.seq, "is the last one, and the head of the chain does not say so")
        if head.seq > here.seq and not await _batch(connection, here):  # and else it was added meanwhile
            raise BrokenChain(here.seq + 1, "is missing: the head of the chain comes after it")
    if checkpoint is not None and checkpoint.seq > here.seq:
        raise BrokenChain(here.seq + 1, "is missing: the checkpoint comes after it")
    return here


def _compare(here: Mark, checkpoint: Mark | None) -> None:
    if checkpoint is not None and here.seq == checkpoint.seq and here != checkpoint:
        raise BrokenChain(here.seq, "is not the row of the checkpoint")


async def _batch(connection: AsyncConnection, here: Mark, size: int = BATCH) -> Sequence[Row[Any]]:
    rows = select(EVENTS).where(EVENTS.c.seq > here.seq).order_by(EVENTS.c.seq).limit(size)
    try:
        return (await connection.execute(rows)).all()
    except (ValueError, TypeError, AttributeError):  # a value that no column of ours holds (SQLite keeps anything)
        if size > 1:
            return await _batch(connection, here, 1)
        raise BrokenChain(here.seq + 1, "was changed") from None


def _next(here: Mark, row: Row[Any]) -> Mark:
    if row.seq != here.seq + 1:
        raise BrokenChain(here.seq + 1, "is missing")
    try:
        expected = row_hash(here.hash, dict(row._mapping))
    except (KeyError, TypeError):
        raise BrokenChain(row.seq, "was written with a key that is neither AUDIT_KEY nor a fallback") from None
    if row.hash != expected:
        raise BrokenChain(row.seq, "was changed, moved or put in")
    return Mark(row.seq, row.hash)


async def prune(database: Database, before: datetime) -> int:
    """Remove the rows of the time before, and say how many. What remains verifies from a new start.

    Raises: BrokenChain; from a chain that is broken nothing is removed.
    """
    await verify(database)
    removed = 0
    while True:
        async with database.begin() as db:
            some = await _prune_some(db, before)
        removed += some
        if some < PRUNED_AT_ONCE:
            return removed


async def _prune_some(db: AsyncSession, before: datetime) -> int:
    head = await read_mark(db, "head", lock=True)
    start = await read_mark(db, "start") or ORIGIN
    if head is None:
        return 0
    oldest = select(EVENTS.c.seq).where(EVENTS.c.seq > start.seq).order_by(EVENTS.c.seq)
    kept = await db.scalar(oldest.where(EVENTS.c.at >= before).limit(1))
    last = min(head.seq if kept is None else kept - 1, start.seq + PRUNED_AT_ONCE)
    if last <= start.seq:
        return 0
    digest = (await db.execute(select(EVENTS.c.hash).where(EVENTS.c.seq == last))).scalar_one()
    await write_mark(db, "start", Mark(last, digest))
    removed = await changed_rows(db, delete(EVENTS).where(EVENTS.c.seq <= last))
    events.record_change(db, Event.AUDIT_PRUNED, subject=f"{start.seq + 1}-{last}")
    return removed
