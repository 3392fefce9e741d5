"""Writes to the audit log what waits in memory, and says on stdout from time to time where its chain ends."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, after_commit
from app.security.audit.audit_marks import BrokenChain, Mark
from app.security.audit.chain import Row, append, remember
from app.security.core import events
from app.security.core.events import Event

WRITE_EVERY_SECONDS = 1.0
ROWS_AT_ONCE = 200  # in one transaction; a flood fills the queue, not the disk
WAITING_AT_MOST = 10_000
CHECKPOINT_ROWS = 1000
CHECKPOINT_SECONDS = 300
END_SECONDS = 5
# Refusals, as many as somebody likes who has no account: they fill half of the queue and never push out anything else.
CAUSED_BY_ANYBODY = frozenset(
    {
        Event.AUTHZ_FAIL,
        Event.INPUT_VALIDATION_FAIL,
        Event.LOGIN_LOCK,
        Event.MALICIOUS_CORS,
        Event.RATE_LIMIT_EXCEEDED,
    }
)
log = logging.getLogger(__name__)


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
        if not writers or head.seq // CHECKPOINT_ROWS > self.said_seq // CHECKPOINT_ROWS:
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
        room = WAITING_AT_MOST // 2 if row["event"] in CAUSED_BY_ANYBODY else WAITING_AT_MOST
        if len(self.waiting) < room:
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
                await append_here(db, rows)
        except Exception as error:  # whatever it is: the service goes on without
            if self._works:
                self._complain(error)
            self._works = False
            return False
        self._works = True
        for _ in rows:
            self.waiting.popleft()
        return True

    @staticmethod
    def _complain(error: Exception) -> None:
        log.warning("the audit log cannot be written, its events are only here: %s", type(error).__name__)
        if isinstance(error, BrokenChain):
            say_broken(error)

    async def end(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while self.waiting and await self.write():
                    pass


writers: list[Writer] = []  # of the apps that run in this process; usually one


async def append_here(db: AsyncSession, rows: list[Row]) -> None:
    """Link these rows, and remember it once they are committed. Raises: BrokenChain."""
    head = await append(db, rows)
    after_commit(db, partial(remember, db.get_bind(), head))
    after_commit(db, partial(checkpoints.reached, head))


def say_broken(broken: BrokenChain) -> None:
    log.critical("the audit chain is broken, nothing is added to it: %s Run `uv run manage audit verify`", broken)
