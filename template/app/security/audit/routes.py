"""The audit log over HTTP, for the administrator; reading it is an event too."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select

from app.database import DbSession
from app.security.access.identity import Caller
from app.security.access.roles import ADMIN, require_role
from app.security.core.events import Event, record_change
from app.security.core.tables import AuditEvent

router = APIRouter(prefix="/audit-events", tags=["audit"], dependencies=[require_role(ADMIN)])

Seq = Annotated[int, Query(ge=0, lt=2**63)]
Name = Annotated[str, Query(pattern=r"^[a-z_]{1,64}$", max_length=64)]
Actor = Annotated[str, Query(pattern=r"^(anonymous|system|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", max_length=36)]


class AuditEventOut(BaseModel, from_attributes=True):
    seq: int
    id: UUID
    at: datetime
    event: str
    outcome: str
    actor: str
    subject: str | None
    reason: str | None
    client_ip: str | None
    user_agent: str | None
    request_id: str | None
    client_request_id: str | None
    method: str | None
    route: str | None
    app_version: str


@router.get("")
async def list_events(
    caller: Caller,
    db: DbSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Seq | None = None,
    after: Seq | None = None,
    event: Name | None = None,
    actor: Actor | None = None,
) -> list[AuditEventOut]:
    """Newest first. The next page is `before` the last `seq`; what is newer is `after` the first one."""
    equal = {name: value for name, value in {"event": event, "actor": actor}.items() if value is not None}
    query = select(AuditEvent).filter_by(**equal).limit(limit)
    if before is not None:
        query = query.where(AuditEvent.seq < before)
    if after is not None:
        query = query.where(AuditEvent.seq > after)
    upwards = after is not None and before is None  # the rows that follow, so that none is left out
    found = await db.scalars(query.order_by(AuditEvent.seq if upwards else AuditEvent.seq.desc()))
    rows = sorted(found, key=lambda row: -row.seq)
    read = f"{rows[-1].seq}-{rows[0].seq}" if rows else None
    record_change(db, Event.AUDIT_READ, actor=caller.id, subject=read)
    return [AuditEventOut.model_validate(row) for row in rows]
