"""`manage audit …`: does the chain hold, and removing what is older than its time."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, NoReturn, TypeVar

import typer
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.database import Database
from app.security import audit_check, audit_log, events, logs
from app.security.audit_chain import BrokenChain, Mark
from app.security.events import Event
from app.security.tables import utc_now

T = TypeVar("T")
_MARK = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})\Z")


def commands() -> typer.Typer:
    """From here on, what other commands change is kept in the audit log too."""
    events.listen(audit_log.keep)
    audit = typer.Typer(no_args_is_help=True)
    for command in (verify, prune):
        audit.command()(command)
    return audit


def verify(
    head: Annotated[str, typer.Option(help="SEQ:HASH of an audit_checkpoint that was kept elsewhere.")] = "",
) -> None:
    """Say whether the audit log is as it was written; exit code 1 and the first row that is not."""
    found = _MARK.match(head)
    if head and not found:
        _fail("Write a checkpoint as SEQ:HASH.")
    checkpoint = Mark(int(found[1]), bytes.fromhex(found[2])) if found else None
    count, end = _run(lambda database: audit_check.verify(database, checkpoint))
    events.record(Event.AUDIT_VERIFIED, subject=str(end))
    if checkpoint is not None and checkpoint.seq < end.seq - count:
        _fail(f"All {count} rows hold, but the row of that checkpoint was pruned: use a newer one.")
    typer.echo(f"All {count} rows hold. The last one is {end}")


def prune(
    days: Annotated[int, typer.Option(min=1, help="Keep the rows of so many days.")] = audit_check.RETENTION_DAYS,
) -> None:
    """Remove old rows; the others still verify."""
    before = utc_now() - timedelta(days=days)
    removed = _run(lambda database: audit_check.prune(database, before))
    typer.echo(f"Removed {removed} rows.")


def _run(work: Callable[[Database], Awaitable[T]]) -> T:
    logs.to_stderr()  # stdout is for what was asked for

    async def with_database() -> T:
        database = Database()
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(with_database())
    except BrokenChain as broken:
        events.record(Event.AUDIT_VERIFIED, outcome="failure", subject=str(broken.seq))
        _fail(str(broken))
    except (OperationalError, ProgrammingError, ConnectionError):  # no such table, or no such server
        _fail("The database is not ready: run `uv run manage migrate`, or see `uv run manage doctor`.")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
