"""Whether the audit chain holds, and how old rows leave it. Rows are read in batches: their number takes no memory."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database import Database, changed_rows
from app.security.audit.audit_key import audit_keys
from app.security.audit.audit_marks import (
    EVENTS,
    ORIGIN,
    BrokenChain,
    Mark,
    locked_head,
    read_mark,
    read_start,
    write_mark,
)
from app.security.audit.chain import row_hash
from app.security.core import events
from app.security.core.events import Event

BATCH = 1000
RETENTION_DAYS = 365
PRUNED_AT_ONCE = 10_000


async def verify(database: Database, checkpoint: Mark | None = None) -> tuple[int, Mark]:
    """How many rows hold, and where the chain ends. Raises: BrokenChain, for the first row that does not."""
    async with database.read() as connection:
        while True:
            start = await read_start(connection)
            try:
                head = await _walk(connection, start, checkpoint)
            except BrokenChain:
                if await read_start(connection) == start:
                    raise
            else:  # and else it was pruned meanwhile
                return head.seq - start.seq, head


async def _walk(connection: AsyncConnection, start: Mark, checkpoint: Mark | None) -> Mark:
    first = await connection.scalar(select(func.min(EVENTS.c.seq)))
    if first is not None and first <= start.seq:
        raise BrokenChain(first, "was put in before the start of the chain")
    _compare(start, checkpoint)
    reader = _Reader(start)
    ended = False
    while not ended:
        while rows := await _batch(connection, reader.here):
            for row in rows:
                reader.follow(row)
                _compare(reader.here, checkpoint)
        ended = await _is_end(connection, reader)
    if not reader.told:
        raise BrokenChain(start.seq, "was removed, and no row of the chain says so")
    if checkpoint is not None and checkpoint.seq > reader.here.seq:
        raise BrokenChain(reader.here.seq + 1, "is missing: the checkpoint comes after it")
    return reader.here


async def _is_end(connection: AsyncConnection, reader: "_Reader") -> bool:
    """Whether the head is where the reader has come to; if not, there are more rows to read."""
    here = reader.here
    found = await read_mark(connection, "head")
    head, key = found or (ORIGIN, None)
    if head == here:
        if key is not None and key.age > reader.age:
            raise BrokenChain(here.seq, "is the last one, and the head was signed with an older key")
        return True
    if head.seq <= here.seq:
        raise BrokenChain(here.seq, "is the last one, and the head of the chain does not say so")
    if not await _batch(connection, here, 1):  # and else it was added meanwhile
        raise BrokenChain(here.seq + 1, "is missing: the head of the chain comes after it")
    return False


class _Reader:
    """Follows the chain row by row, and holds what the next one is compared with."""

    def __init__(self, start: Mark) -> None:
        self.here = start
        self.age = len(audit_keys())  # of the key of the last row: from one to the next it never grows
        self.told = start == ORIGIN  # whether a row says that those before the start were removed
        self._start = start

    def follow(self, row: Row[Any]) -> None:
        """Raises: BrokenChain, for a row that does not come next."""
        if row.seq != self.here.seq + 1:
            raise BrokenChain(self.here.seq + 1, "is missing")
        try:
            expected, age = row_hash(self.here.hash, dict(row._mapping)), audit_keys()[row.key_id].age
        except (KeyError, TypeError):
            raise BrokenChain(row.seq, "was written with a key that is neither AUDIT_KEY nor a fallback") from None
        if row.hash != expected:
            raise BrokenChain(row.seq, "was changed, moved or put in")
        if age > self.age:  # somebody may hold a key that was replaced because it had leaked
            raise BrokenChain(row.seq, "was written with an older key than the row before it")
        self.here, self.age = Mark(row.seq, row.hash), age
        self.told = self.told or _tells(row, self._start)


def _tells(row: Row[Any], start: Mark) -> bool:
    if row.event == Event.AUDIT_RESTARTED:
        return bool(row.seq == start.seq + 1)
    return row.event == Event.AUDIT_PRUNED and str(row.subject).endswith(f"-{start.seq}")


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


async def prune(database: Database, before: datetime) -> int:
    """Remove the rows of the time before, and say how many. What remains verifies from a new start.

    Raises: BrokenChain; from a chain that is broken nothing is removed.
    """
    count, _ = await verify(database)
    if not count:
        return 0
    removed = 0
    while True:
        async with database.begin() as db:
            some = await _prune_some(db, before)
        removed += some
        if some < PRUNED_AT_ONCE:
            return removed


async def _prune_some(db: AsyncSession, before: datetime) -> int:
    head = await locked_head(db)
    start = await read_start(db)
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
