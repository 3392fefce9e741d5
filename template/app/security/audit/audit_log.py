"""Keeps security events in a table, chained so that a change of it shows (`audit_chain.py`).

A change of people, roles or keys and its row stand or fall together. What belongs to logging in and using the service
never waits for the table: such events are written within a second, as well as can be, and are on stdout in any case.
"""

from functools import partial

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, after_commit, before_commit
from app.security.access.policy import Policies
from app.security.audit import audit_writer
from app.security.audit.audit_marks import BrokenChain, read_head
from app.security.audit.audit_writer import Writer
from app.security.audit.chain import Row, remember, row_of
from app.security.core import events
from app.security.core.events import Event, Fields, NotRecorded
from app.security.core.hooks import hooks_of

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


async def _append_or_fail(db: AsyncSession, rows: list[Row]) -> None:
    await db.flush()  # what fails here is no fault of the audit log
    taken = rows.copy()
    rows.clear()
    try:
        await audit_writer.append_here(db, taken)
    except (SQLAlchemyError, BrokenChain) as error:
        if isinstance(error, BrokenChain):
            audit_writer.say_broken(error)
        raise NotRecorded from error


def _queue(row: Row) -> None:
    if audit_writer.writers:
        audit_writer.writers[-1].add(row)


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
    await _look(app.state.database)
    app.state.audit_writer = Writer(app.state.database)
    audit_writer.writers.append(app.state.audit_writer)


async def _look(database: Database) -> None:
    """Say what is wrong before the first change fails by it, and remember where the chain ended."""
    try:
        async with database.read() as connection:
            head = await read_head(connection)
    except BrokenChain as broken:
        audit_writer.say_broken(broken)
    except (SQLAlchemyError, OSError):  # the migrations have said what is wrong with the database
        return
    else:
        remember(database.engine.sync_engine, head)


async def _end(app: FastAPI) -> None:
    await app.state.audit_writer.end()
    audit_writer.writers.remove(app.state.audit_writer)
    audit_writer.checkpoints.say()


async def _faults(db: AsyncSession, policies: Policies) -> list[str]:
    try:
        await read_head(db)
    except BrokenChain as broken:
        return [f"the audit log takes no change: {broken} Run `uv run manage audit verify`"]
    return []


def install(app: FastAPI) -> None:
    events.listen(keep)
    hooks_of(app).at_start.append(_start)
    hooks_of(app).at_end.append(_end)
    hooks_of(app).faults.append(_faults)
