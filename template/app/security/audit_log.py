"""Keeps security events in a table, chained so that a change of it shows (`audit_chain.py`).

A change of people, roles or keys and its row stand or fall together. What belongs to logging in and using the service
never waits for the table: such events are written within a second, as well as can be, and are on stdout in any case.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from functools import partial

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, after_commit, before_commit
from app.security import events
from app.security.audit_chain import BrokenChain, Mark, Row, append, row_of
from app.security.events import Event, Fields
from app.security.hooks import hooks_of

WRITE_EVERY_SECONDS = 1.0
ROWS_AT_ONCE = 200  # in one transaction; a flood fills the queue, not the disk
WAITING_AT_MOST = 10_000
CHECKPOINT_ROWS = 1000
CHECKPOINT_SECONDS = 300
END_SECONDS = 5
# Changes that belong to logging in and calling: they never wait for the table. Any other change fails with it.
AUTHENTICATION = frozenset(
    {
        Event.KEY_FIRST_USE,
        Event.LOGIN_SUCCESS,
        Event.SESSION_CREATED,
        Event.SESSION_ENDED,
        Event.SESSION_EXPIRED,
        Event.TOKEN_CREATED,
        Event.TOKEN_REUSE,
    }
)
_PENDING = "audit_rows"
log = logging.getLogger(__name__)


class AuditUnavailable(ConnectionError):
    """The change cannot be kept in the audit log, so it is not made."""


class Checkpoints:
    """Says on stdout from time to time where the chain ends: whoever keeps that can prove that its tail is gone."""

    def __init__(self) -> None:
        self.due: Mark | None = None
        self.said_seq: int | None = None
        self.said_at = time.monotonic()

    def reached(self, head: Mark) -> None:
        self.due = head
        if self.said_seq is None:
            self.said_seq = head.seq
        if not _writers or head.seq // CHECKPOINT_ROWS > self.said_seq // CHECKPOINT_ROWS:
            self.say()

    def tick(self) -> None:
        if time.monotonic() - self.said_at >= CHECKPOINT_SECONDS:
            self.say()

    def say(self) -> None:
        self.said_at = time.monotonic()
        if self.due is not None:
            head, self.due = self.due, None
            self.said_seq = head.seq
            events.record(Event.AUDIT_CHECKPOINT, subject=str(head))


checkpoints = Checkpoints()


class Writer:
    """Writes what waits in memory, once a second, for one app."""

    def __init__(self, database: Database) -> None:
        self.waiting: deque[Row] = deque()
        self._database = database
        self._lost = 0
        self._works = True
        self._task = asyncio.create_task(self._run())

    def add(self, row: Row) -> None:
        if len(self.waiting) < WAITING_AT_MOST:
            self.waiting.append(row)
        else:
            self._lost += 1

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_SECONDS)
            await self.write()
            checkpoints.tick()

    async def write(self) -> bool:
        """Write one batch. What cannot be written waits for the next time."""
        if self._lost:
            lost, self._lost = self._lost, 0
            log.warning("%s events are not in the audit log, only here: too many were waiting", lost)
        rows = [self.waiting[index] for index in range(min(ROWS_AT_ONCE, len(self.waiting)))]
        if not rows:
            return True
        try:
            async with self._database.begin() as db:
                await _append(db, rows)
        except Exception as error:  # whatever it is: the service goes on without
            if self._works:
                log.warning("the audit log cannot be written, its events are only here: %s", type(error).__name__)
            self._works = False
            return False
        self._works = True
        for _ in rows:
            self.waiting.popleft()
        return True

    async def end(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while self.waiting and await self.write():
                    pass


_writers: list[Writer] = []  # of the apps that run in this process; usually one


async def _append(db: AsyncSession, rows: list[Row]) -> None:
    head = await append(db, rows)
    after_commit(db, partial(checkpoints.reached, head))


async def _append_or_fail(db: AsyncSession, rows: list[Row]) -> None:
    await db.flush()  # what fails here is no fault of the audit log
    taken = rows.copy()
    rows.clear()
    try:
        await _append(db, taken)
    except (SQLAlchemyError, BrokenChain) as error:
        if isinstance(error, BrokenChain):
            log.critical("the audit chain is broken, nothing is added to it: run `uv run manage audit verify`")
        raise AuditUnavailable from error


def _queue(row: Row) -> None:
    if _writers:
        _writers[-1].add(row)


def keep(db: AsyncSession | None, fields: Fields) -> None:
    """Keep an event: the listener that sees all of them."""
    if fields["event"] == Event.AUDIT_CHECKPOINT:
        return
    row = row_of(fields)
    if db is None:
        _queue(row)
    elif fields["event"] in AUTHENTICATION:
        after_commit(db, partial(_queue, row))
    else:
        rows = db.info.setdefault(_PENDING, [])
        if not rows:
            before_commit(db, partial(_append_or_fail, db, rows))
        rows.append(row)


async def _start(app: FastAPI) -> None:
    app.state.audit_writer = Writer(app.state.database)
    _writers.append(app.state.audit_writer)


async def _end(app: FastAPI) -> None:
    await app.state.audit_writer.end()
    _writers.remove(app.state.audit_writer)
    checkpoints.say()


def install(app: FastAPI) -> None:
    events.listen(keep)
    hooks_of(app).at_start.append(_start)
    hooks_of(app).at_end.append(_end)
