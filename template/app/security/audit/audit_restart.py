"""The way out of a broken chain: everything that is there goes into a file, and a new chain begins after it.

The new chain starts with the SHA-256 of that file, as a row of the old one goes on with the hash of the row before: so
nobody can exchange the file later without its showing.
"""

import hashlib
import json
import os
from io import BufferedWriter
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, changed_rows
from app.security.audit import audit_check
from app.security.audit.audit_marks import CHAIN, EVENTS, BrokenChain, Mark, lock, read_mark, write_mark
from app.security.core import events
from app.security.core.events import Event

REMOVED_AT_ONCE = 10_000  # by one statement; all of them are one transaction
PLAUSIBLE = 10**15  # a row that claims to come later is no place to go on from: there must be room for others after it


class NotRestarted(Exception):
    """Why everything stays as it is."""


async def restart(database: Database, path: Path, checkpoint: Mark | None) -> tuple[int, Mark]:
    """Write everything into a new file and begin a new chain; how many rows those were, and where it starts.

    Raises: NotRestarted.
    """
    try:
        await audit_check.verify(database, checkpoint)
    except BrokenChain:
        pass
    else:
        raise NotRestarted("The audit log holds: there is nothing to restart.")
    async with database.begin() as db:
        await lock(db)  # leaves a head with number 0 where there was none
        count, digest = await _export(db, path)
        start = Mark(await _last_seq(db, checkpoint), digest)
        await _begin_after(db, start)
        events.record_change(db, Event.AUDIT_RESTARTED, subject=f"{start}, {count} rows")
    return count, start


async def _begin_after(db: AsyncSession, start: Mark) -> None:
    some = EVENTS.c.seq.in_(select(EVENTS.c.seq).limit(REMOVED_AT_ONCE))
    while await changed_rows(db, delete(EVENTS).where(some)):
        pass
    for name in ("head", "start"):
        await write_mark(db, name, start)


async def _last_seq(db: AsyncSession, checkpoint: Mark | None) -> int:
    found = await db.scalar(select(func.max(EVENTS.c.seq)).where(EVENTS.c.seq <= PLAUSIBLE))
    marked = [await _marked(db, name) for name in ("head", "start")]
    return max(found or 0, checkpoint.seq if checkpoint else 0, *marked)


async def _marked(db: AsyncSession, name: str) -> int:
    try:
        found = await read_mark(db, name)
    except BrokenChain:  # anybody may have written it
        return 0
    return found[0].seq if found else 0


async def _export(db: AsyncSession, path: Path) -> tuple[int, bytes]:
    """Every row and mark as one line of JSON, as the database gives it: no column's type stands in the way."""
    digest, count = hashlib.sha256(), 0
    with _new_file(path) as file:
        for table in (CHAIN, EVENTS):
            rows = await db.stream(text(f"SELECT * FROM {table.name}"))  # noqa: S608  # nosec B608  # of our own table
            async for row in rows.mappings():
                line = json.dumps({"table": table.name, **row}, default=_text).encode() + b"\n"
                digest.update(line)
                file.write(line)
                count += table is EVENTS
        file.flush()
        os.fsync(file.fileno())  # before anything is removed
    return count, digest.digest()


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _new_file(path: Path) -> BufferedWriter:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise NotRestarted(f"{path} cannot be written ({error.strerror}): name a new file.") from None
