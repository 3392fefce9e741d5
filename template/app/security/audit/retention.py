"""How long rows of the audit log are kept, and their removal: `manage audit prune`. The others still verify."""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.audit import chain
from app.security.audit.chain import EVENTS, Position
from app.security.core.events import Event, record_change

RETENTION_DAYS = 365
ROWS_AT_ONCE = 10_000  # removed in one transaction


async def prune_some(db: AsyncSession, before: datetime) -> int:
    """Remove some of the rows from before this time. Returns their number, 0 at the end."""
    await chain.lock(db)
    kept = await db.scalar(select(func.min(EVENTS.c.seq)).where(EVENTS.c.at >= before))
    old = select(EVENTS.c.seq, EVENTS.c.hash).order_by(EVENTS.c.seq).limit(ROWS_AT_ONCE)
    rows = (await db.execute(old if kept is None else old.where(EVENTS.c.seq < kept))).all()
    if not rows:
        return 0
    last, (start, _) = Position(*rows[-1]), await chain.start_of(db)
    if last.seq > start.seq:  # else they precede the chain
        record_change(db, Event.AUDIT_PRUNED, subject=str(last))
    return await changed_rows(db, delete(EVENTS).where(EVENTS.c.seq <= last.seq))
