"""The example: a resource that belongs to its creator. Copy it, change it, delete it."""

import uuid
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, DbSession
from app.security.identity import Caller, require_scope
from app.security.problems import Problem
from app.security.request_guard import FreeText
from app.security.tables import utc_now

router = APIRouter(prefix="/notes", tags=["notes"])

Title = Annotated[str, Field(min_length=1, max_length=200, examples=["Milk"])]
Body = Annotated[str, Field(max_length=10_000, examples=["Two bottles"]), FreeText()]


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(String(10_000), default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class NoteIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Title
    body: Body = ""


class NoteChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    body: Body | None = None


class NoteOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    body: str
    created_at: datetime


async def own_note(note_id: UUID, caller: Caller, db: DbSession) -> Note:
    """The caller's note. Another's is not found, just like none at all. Raises: Problem 404."""
    note = await db.scalar(select(Note).where(Note.id == note_id, Note.owner_id == caller.id))
    if note is None:
        raise Problem(404)
    return note


OwnNote = Annotated[Note, Depends(own_note)]


@router.get("", dependencies=[require_scope("notes:read")])
async def list_notes(
    caller: Caller,
    db: DbSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: UUID | None = None,
) -> list[NoteOut]:
    """In the order of their ids; `after` is the last id of the page before."""
    query = select(Note).where(Note.owner_id == caller.id).order_by(Note.id).limit(limit)
    page = query if after is None else query.where(Note.id > after)
    return [NoteOut.model_validate(note) for note in await db.scalars(page)]


@router.post("", status_code=201, dependencies=[require_scope("notes:write")])
async def create_note(request: Request, response: Response, new: NoteIn, caller: Caller, db: DbSession) -> NoteOut:
    note = Note(owner_id=caller.id, **new.model_dump())
    db.add(note)
    await db.flush()
    response.headers["Location"] = f"{request.url.path}/{note.id}"
    return NoteOut.model_validate(note)


@router.get("/{note_id}", dependencies=[require_scope("notes:read")])
async def read_note(note: OwnNote) -> NoteOut:
    return NoteOut.model_validate(note)


@router.patch("/{note_id}", dependencies=[require_scope("notes:write")])
async def change_note(note: OwnNote, change: NoteChange, db: DbSession) -> NoteOut:
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(note, name, value)
    await db.flush()
    return NoteOut.model_validate(note)


@router.delete("/{note_id}", status_code=204, dependencies=[require_scope("notes:write")])
async def delete_note(note: OwnNote, db: DbSession) -> None:
    await db.delete(note)
