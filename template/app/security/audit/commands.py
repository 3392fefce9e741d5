"""`manage audit`: verify the chain, remove old rows, start a new chain after a broken one."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, TypeVar

import typer
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.audit import chain, keep
from app.security.audit.chain import EVENTS, ORIGIN, BrokenChain, Position
from app.security.audit.retention import RETENTION_DAYS, prune_some
from app.security.core.events import Event, listen, record, record_change
from app.security.core.tables import utc_now
from app.security.operations.terminal import fail, run

PLAUSIBLE = 10**15  # a forged row with a higher number would leave none for the rows after it
T = TypeVar("T")


def commands() -> typer.Typer:
    """The commands. The changes of all other commands are written to the audit log, too."""
    listen(keep)
    audit = typer.Typer(no_args_is_help=True)
    for command in (verify, prune, restart):
        audit.command()(command)
    return audit


def _run(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    try:
        return run(work)
    except BrokenChain as broken:
        record(Event.AUDIT_VERIFIED, outcome="failure", subject=str(broken.seq))
        fail(str(broken))


def verify(
    head: Annotated[str, typer.Option(help="SEQ:HASH of an audit_checkpoint that was kept elsewhere.")] = "",
) -> None:
    """Verify the audit log. Exit code 1 and the first row that is not as it was written."""
    checkpoint = Position.parse(head) if head else ORIGIN
    if checkpoint is None:
        fail("Write a checkpoint as SEQ:HASH.")
    count, end = _run(lambda db: chain.verify(db, checkpoint))
    record(Event.AUDIT_VERIFIED, subject=str(end))
    if head and checkpoint.seq <= end.seq - count:
        fail(f"All {count} rows verify, but the row of that checkpoint comes before them: use a newer one.")
    if end == ORIGIN:
        return typer.echo("The audit log is empty: nothing was written yet, or everything was removed (use --head).")
    typer.echo(f"All {count} rows verify. The last one is {end}")


def prune(days: Annotated[int, typer.Option(min=1, help="Keep the rows of this many days.")] = RETENTION_DAYS) -> None:
    """Remove old rows. The others still verify."""
    _run(chain.verify)
    removed, before = 0, utc_now() - timedelta(days=days)
    while some := run(partial(prune_some, before=before)):
        removed += some
    typer.echo(f"Removed {removed} rows.")


def restart() -> None:
    """Start a new chain after a broken one. The older rows stay, and are no longer verified."""
    try:
        run(chain.verify)
    except BrokenChain as broken:
        start = run(partial(_restart, broken=broken))
        return typer.echo(f"A new chain starts after row {start.seq}. Keep a copy of the rows before it as evidence.")
    fail("The audit log verifies: there is nothing to restart.")


async def _restart(db: AsyncSession, broken: BrokenChain) -> Position:
    await chain.lock(db)
    await db.execute(delete(EVENTS).where(EVENTS.c.seq > PLAUSIBLE))
    start = Position(await db.scalar(select(func.max(EVENTS.c.seq))) or 0, ORIGIN.hash)
    await chain.write_head(db, start)
    record_change(db, Event.AUDIT_RESTARTED, subject=str(start), reason=str(broken))
    return start
