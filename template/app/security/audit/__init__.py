"""The audit log: security events in a tamper-evident table, kept for a year (`retention`).

`chain` links and verifies the rows that are written here; `commands` is `manage audit`, `routes` is GET /audit-events.
A change of people, roles or keys and its row are committed in the same transaction. Login and use of the service never
wait for the table: their events are written within a second, as well as possible, and are on stdout in any case.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from functools import partial

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, after_commit, before_commit
from app.security.audit.chain import EVENTS, BrokenChain, Row, append
from app.security.core.events import Event, Fields, listen
from app.security.core.settings import version
from app.security.core.tables import utc_now

WRITE_EVERY_SECONDS, RETRY_SECONDS, END_SECONDS = 1.0, 60.0, 5.0
ROWS_AT_ONCE = 200  # in one transaction; a flood fills the queue, not the disk
MAX_WAITING = 10_000  # rows in memory; failures, which a client can cause without limit, fill half of it
# Changes that belong to login and calls never wait for the table. Every other change fails with it.
NEVER_WAITING = ("api_key_first_use", "authn_login_", "authn_token_", "session_")
log = logging.getLogger(__name__)


class NotRecorded(ConnectionError):
    """The change cannot be written to the audit log, so it is not made."""

    advice = "The audit log cannot record this change, so it was not made: run `uv run manage audit verify`."


def keep(db: AsyncSession | None, fields: Fields) -> None:
    """Write an event; this is the listener to all of them."""
    event = str(fields["event"])
    if event == Event.AUDIT_CHECKPOINT:
        return
    row = row_of(fields)
    if db is not None and not event.startswith(NEVER_WAITING):
        before_commit(db, partial(_append_or_fail, db, row))
    elif writers:
        later = partial(writers[-1].add, row)
        after_commit(db, later) if db is not None else later()


def row_of(fields: Fields) -> Row:
    """The row of an event, without anything that a database would return changed."""
    row: Row = dict.fromkeys(EVENTS.columns.keys())
    for name, value in {**fields, "app_version": version()}.items():
        text = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
        row[name] = text[: EVENTS.c[name].type.length]  # type: ignore[attr-defined]
    now = utc_now()
    return {**row, "id": uuid.uuid4(), "at": now.replace(microsecond=now.microsecond // 1000 * 1000)}


async def _append_or_fail(db: AsyncSession, row: Row) -> None:
    await db.flush()  # its errors are errors of the change, not of the audit log
    try:
        await append(db, [row])
    except (SQLAlchemyError, BrokenChain) as error:
        log.critical("a change was refused, because the audit log cannot record it: %s", _explain(error))
        raise NotRecorded from error


def _explain(error: Exception) -> str:
    return f"{error} Run `uv run manage audit verify`" if isinstance(error, BrokenChain) else type(error).__name__


class Writer:
    """Writes the waiting rows of one app once a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Row] = deque()
        self._lost = 0

    def add(self, row: Row) -> None:
        if len(self._waiting) < (MAX_WAITING // 2 if row["outcome"] == "failure" else MAX_WAITING):
            self._waiting.append(row)
        else:
            self._lost += 1

    async def run(self, app: FastAPI) -> None:
        writers.append(self)
        pause = WRITE_EVERY_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = WRITE_EVERY_SECONDS if await self.write() else RETRY_SECONDS

    async def write(self) -> bool:
        """Write one batch. If that fails, the rows wait for the next attempt."""
        if self._lost:
            log.warning("%s events are only here and not in the audit log: too many were waiting", self._lost)
            self._lost = 0
        rows = list(self._waiting)[:ROWS_AT_ONCE]
        if not rows:
            return True
        ids = select(EVENTS.c.id).where(EVENTS.c.id.in_([row["id"] for row in rows]))
        try:
            async with self._database.begin() as db:
                written = set(await db.scalars(ids))  # by a commit whose response was lost
                await append(db, [row for row in rows if row["id"] not in written])
        except Exception as error:  # the service must continue
            log.critical("the audit log cannot be written, its events are only here: %s", _explain(error))
            return False
        done = {row["id"] for row in rows}
        self._waiting = deque(row for row in self._waiting if row["id"] not in done)
        return True

    async def end(self, app: FastAPI) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while self._waiting and await self.write():
                    pass
        writers.remove(self)


writers: list[Writer] = []  # of the apps that run in this process; usually one


def install(app: FastAPI) -> None:
    listen(keep)
    writer = Writer(app.state.database)
    app.state.hooks.background.append(writer.run)
    app.state.hooks.at_end.append(writer.end)
