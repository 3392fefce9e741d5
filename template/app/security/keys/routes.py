"""People's own API keys over HTTP. A key never comes here: these routes name no scope (ASVS 5.0 V7.2.2)."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import DbSession
from app.security.access.credentials import Principal, forget_on_commit
from app.security.access.identity import Caller, recent_login
from app.security.access.policy import Policies
from app.security.access.routing import include_first, our_router
from app.security.core.problems import Problem
from app.security.core.tables import ApiKey
from app.security.keys import store as key_store
from app.security.keys.store import DEFAULT_DAYS, LONGEST_DAYS, LONGEST_NAME, KeyGone, NewKey, TooManyKeys

router = our_router("/api-keys", tags=["api keys"])

Scope = Annotated[str, StringConstraints(min_length=1, max_length=100)]
MOST_SCOPES = 40


def _printable(name: str) -> str:
    """It is shown on terminals. Raises: ValueError."""
    if not name.isprintable():
        raise ValueError
    return name


class KeyWanted(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, AfterValidator(_printable)] = Field(min_length=1, max_length=LONGEST_NAME)
    scopes: list[Scope] = Field(min_length=1, max_length=MOST_SCOPES)
    expires_in_days: int = Field(DEFAULT_DAYS, ge=1, le=LONGEST_DAYS)


class Rotation(BaseModel):
    """How long the old key still opens something; the setting API_KEY_OVERLAP_HOURS is the most."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap_hours: int = Field(24, ge=0, le=24)


class KeyOut(BaseModel):
    id: UUID
    name: str
    scopes: list[str]
    last_four: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    replaced_at: datetime | None


class NewKeyOut(KeyOut):
    """The key itself is shown here and never again."""

    key: str


def _shown(row: ApiKey) -> KeyOut:
    names = ("id", "name", "last_four", "created_at", "expires_at", "last_used_at", "replaced_at")
    return KeyOut(**{name: getattr(row, name) for name in names}, scopes=row.scopes.split())


def _shown_once(new: NewKey) -> NewKeyOut:
    return NewKeyOut(**_shown(new.row).model_dump(), key=new.text)


@router.post("", status_code=201, dependencies=[recent_login])
async def issue_key(request: Request, wanted: KeyWanted, caller: Caller, db: DbSession) -> NewKeyOut:
    """A key for programs of the caller: with scopes that routes ask for and that this log-in may use."""
    policies: Policies = request.state.policies
    allowed = set(policies.scopes()) if caller.scopes is None else caller.scopes
    if not allowed.issuperset(wanted.scopes):
        found = {"pointer": "/body/scopes", "detail": "No route asks for such a scope.", "code": "unknown_scope"}
        raise Problem(422, detail="The request is not valid.", errors=[found])
    try:
        new = await key_store.issue(db, caller.id, wanted.name, wanted.scopes, timedelta(days=wanted.expires_in_days))
    except TooManyKeys:
        raise Problem(409, detail="You have as many keys as you may have: revoke one first.") from None
    return _shown_once(new)


@router.get("")
async def list_keys(caller: Caller, db: DbSession) -> list[KeyOut]:
    """The caller's live keys, newest first."""
    return [_shown(row) for row in await key_store.live_keys(db, caller.id)]


@router.post("/{key_id}/rotate", status_code=201, dependencies=[recent_login])
async def rotate_key(
    request: Request, key_id: UUID, caller: Caller, db: DbSession, rotation: Rotation | None = None
) -> NewKeyOut:
    """A successor with the same name, scopes and life; the old key goes on for the overlap."""
    key = await _own(db, caller, key_id)
    overlap = key_store.longest_overlap() if rotation is None else timedelta(hours=rotation.overlap_hours)
    try:
        new = await key_store.rotate(db, key, overlap)
    except KeyGone:
        raise Problem(409, detail="This key was rotated before.") from None
    except TooManyKeys:
        raise Problem(409, detail="You have as many keys as you may have: revoke one first.") from None
    forget_on_commit(request, db, caller.id)
    return _shown_once(new)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(request: Request, key_id: UUID, caller: Caller, db: DbSession) -> None:
    """End a key at once."""
    await key_store.revoke(db, await _own(db, caller, key_id))
    forget_on_commit(request, db, caller.id)


async def _own(db: AsyncSession, caller: Principal, key_id: UUID) -> ApiKey:
    """Raises: Problem 404."""
    key = await key_store.live_key(db, caller.id, key_id)
    if key is None:
        raise Problem(404)
    return key


def install(app: FastAPI) -> None:
    include_first(app, router)
