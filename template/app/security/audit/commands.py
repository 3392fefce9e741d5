"""`manage audit …`: does the chain hold, removing what is older than its time, and a new one after a broken one."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.database import Database
from app.security.audit import audit_check, audit_log, audit_restart
from app.security.audit.audit_marks import ORIGIN, BrokenChain, Mark
from app.security.core import events, logs
from app.security.core.events import Event, NotRecorded
from app.security.core.tables import utc_now
from app.security.operations.terminal import NOT_READY, NOT_RECORDED, fail, reach

T = TypeVar("T")
Head = Annotated[str, typer.Option(help="SEQ:HASH of an audit_checkpoint that was kept elsewhere.")]
_MARK = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})\Z")


def commands() -> typer.Typer:
    """From here on, what other commands change is kept in the audit log too."""
    events.listen(audit_log.keep)
    audit = typer.Typer(no_args_is_help=True)
    for command in (verify, prune, restart):
        audit.command()(command)
    return audit


def verify(head: Head = "") -> None:
    """Say whether the audit log is as it was written; exit code 1 and the first row that is not."""
    checkpoint = _checkpoint(head)
    count, end = _run(lambda database: audit_check.verify(database, checkpoint))
    events.record(Event.AUDIT_VERIFIED, subject=str(end))
    if checkpoint is not None and checkpoint.seq < end.seq - count:
        fail(f"All {count} rows hold, but the row of that checkpoint was pruned: use a newer one.")
    if end == ORIGIN:
        return typer.echo(
            "The audit log is empty: nothing was ever written (or all of it is gone: compare a checkpoint)."
        )
    typer.echo(f"All {count} rows hold. The last one is {end}")


def prune(
    days: Annotated[int, typer.Option(min=1, help="Keep the rows of so many days.")] = audit_check.RETENTION_DAYS,
) -> None:
    """Remove old rows; the others still verify."""
    before = utc_now() - timedelta(days=days)
    removed = _run(lambda database: audit_check.prune(database, before))
    typer.echo(f"Removed {removed} rows.")


def restart(
    file: Annotated[Path, typer.Argument(help="A new file for every row of the broken chain.")], head: Head = ""
) -> None:
    """Move a broken audit log into a file, and begin a new one after its last number."""
    checkpoint = _checkpoint(head)
    try:
        count, start = _run(lambda database: audit_restart.restart(database, file, checkpoint))
    except audit_restart.NotRestarted as refused:
        fail(str(refused))
    typer.echo(f"Wrote {count} rows into {file}: keep it. A new chain starts after {start}")


def _checkpoint(head: str) -> Mark | None:
    found = _MARK.match(head)
    if head and not found:
        fail("Write a checkpoint as SEQ:HASH.")
    return Mark(int(found[1]), bytes.fromhex(found[2])) if found else None


def _run(work: Callable[[Database], Awaitable[T]]) -> T:
    logs.to_stderr()  # stdout is for what was asked for

    async def with_database() -> T:
        database = Database()
        try:
            await reach(database.engine, "DATABASE_URL")
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(with_database())
    except BrokenChain as broken:
        events.record(Event.AUDIT_VERIFIED, outcome="failure", subject=str(broken.seq))
        fail(str(broken))
    except NotRecorded:
        fail(NOT_RECORDED)
    except (OperationalError, ProgrammingError, ConnectionError):  # no such table, or no such server
        fail(NOT_READY)
