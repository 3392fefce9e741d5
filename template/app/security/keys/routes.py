"""API keys of people over HTTP. An API key cannot call these routes: they name no scope."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, WithJsonSchema

from app.database import DbSession
from app.security.access import accounts
from app.security.access.credentials import context_in
from app.security.access.identity import Caller
from app.security.authentication.recent_login import GrantingSession
from app.security.core.problems import Problem, conflict
from app.security.core.tables import ApiKey, is_displayable
from app.security.keys import store
from app.security.keys.store import DEFAULT_DAYS, LONGEST_DAYS, LONGEST_KEY_NAME, NewKey

router = APIRouter(prefix="/api-keys", tags=["api keys"])

SCOPE_NAME = WithJsonSchema({"$ref": "#/components/schemas/ScopeName"})  # of `http/api_docs.py`: those of the routes
Scope = Annotated[str, StringConstraints(min_length=1, max_length=100), SCOPE_NAME]
MOST_SCOPES = 40


def _displayable(name: str) -> str:
    """Names are shown on terminals. Raises: ValueError."""
    if not is_displayable(name):
        raise ValueError
    return name


class KeyCreate(BaseModel, extra="forbid", strict=True):
    name: Annotated[str, AfterValidator(_displayable)] = Field(
        min_length=1, max_length=LONGEST_KEY_NAME, examples=["nightly report"]
    )
    scopes: list[Scope] = Field(min_length=1, max_length=MOST_SCOPES)
    expires_in_days: int = Field(DEFAULT_DAYS, ge=1, le=LONGEST_DAYS)


class KeyRotate(BaseModel, extra="forbid", strict=True):
    """How long the old key stays valid; API_KEY_OVERLAP_HOURS is the maximum."""

    overlap_hours: int = Field(24, ge=0, le=24)


def _split(stored: object) -> object:
    return stored.split() if isinstance(stored, str) else stored


class KeyOut(BaseModel, from_attributes=True):
    id: UUID
    name: str = Field(examples=["nightly report"])
    scopes: Annotated[list[str], BeforeValidator(_split)] = Field(examples=[["notes:read"]])
    last_four: str = Field(examples=["a1B2"])
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    replaced_at: datetime | None


class NewKeyOut(KeyOut):
    """The key itself is in this response and in no other."""

    key: str = Field(examples=["…_live_…"])


def _new(key: NewKey) -> NewKeyOut:
    return NewKeyOut(**KeyOut.model_validate(key.row).model_dump(), key=key.text)


@router.post("", status_code=201, responses=conflict("The account has its maximum of keys"))
async def issue_key(
    request: Request, response: Response, wanted: KeyCreate, caller: Caller, db: GrantingSession
) -> NewKeyOut:
    """A key for programs of the caller, limited to scopes that routes require."""
    allowed = set(context_in(request.scope).policies.scopes())
    if not allowed.issuperset(wanted.scopes):
        detail = f"Such a scope cannot be given. You may give: {', '.join(sorted(allowed))}."
        found = {"pointer": "/body/scopes", "detail": detail, "code": "unknown_scope"}
        raise Problem(422, detail="The request is not valid.", errors=[found])
    key = await store.issue(db, caller.id, wanted.name, wanted.scopes, timedelta(days=wanted.expires_in_days))
    response.headers["Location"] = f"{request.url.path}/{key.row.id}"
    return _new(key)


@router.get("")
async def list_keys(caller: Caller, db: DbSession) -> list[KeyOut]:
    """The caller's live keys, newest first."""
    return [KeyOut.model_validate(row) for row in await store.live_keys(db, caller.id)]


@router.post("/{key_id}/rotate", status_code=201, responses=conflict("The key was rotated or revoked before"))
async def rotate_key(
    request: Request,
    response: Response,
    key_id: UUID,
    caller: Caller,
    db: GrantingSession,
    rotation: KeyRotate | None = None,
) -> NewKeyOut:
    """A successor with the same name, scopes and life; the old key stays valid for the overlap."""
    key = await store.live_key(db, caller.id, key_id)
    if key is None:
        raise Problem(404)  # also for another account's key
    new = await store.rotate(db, key, (rotation or KeyRotate()).overlap_hours)
    response.headers["Location"] = request.url.path.removesuffix(f"{key_id}/rotate") + str(new.row.id)
    return _new(new)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: UUID, caller: Caller, db: DbSession) -> None:
    """End a key immediately."""
    if not await accounts.revoke_keys(db, caller.id, ApiKey.id == key_id):
        raise Problem(404)  # also for another account's key
