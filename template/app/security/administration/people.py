"""The administration of people over HTTP: for the administrator, with a log-in at most 15 minutes old."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import DbSession
from app.security.access import accounts
from app.security.access.accounts import AccountExists, BadName
from app.security.access.credentials import Principal, forget_on_commit
from app.security.access.identity import Caller, recent_login
from app.security.access.known_roles import believed
from app.security.access.roles import ADMIN, Role, first_role, require_role
from app.security.administration import invitations
from app.security.core import events
from app.security.core.events import Event
from app.security.core.problems import Problem
from app.security.core.tables import UNUSABLE_PASSWORD, Account, AccountRole

# Below it `{person_id:uuid}`, and no more: "me" is nobody's id.
router = APIRouter(prefix="/users", tags=["people"], dependencies=[require_role(ADMIN)])

Roles = Annotated[list[Role], Field(max_length=20)]


class PersonOut(BaseModel):
    id: UUID
    name: str
    roles: list[str]
    is_active: bool
    is_activated: bool
    created_at: datetime


class NewPerson(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=254)
    roles: Roles | None = None


class PersonChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    roles: Roles | None = None
    is_active: StrictBool | None = None


class InvitationOut(BaseModel):
    """The token is shown here once; it sets the password at POST /auth/activate within 24 hours."""

    id: UUID
    activation_token: str


def _shown(account: Account, roles: Iterable[str]) -> PersonOut:
    return PersonOut(
        id=account.id,
        name=account.name,
        roles=sorted(roles),
        is_active=account.is_active,
        is_activated=account.password_hash != UNUSABLE_PASSWORD,
        created_at=account.created_at,
    )


async def _person(db: AsyncSession, person: UUID) -> Account:
    """Raises: Problem 404."""
    locked = select(Account).where(Account.id == person, Account.kind == "person").with_for_update()
    account = await db.scalar(locked)
    if account is None:
        raise Problem(404)
    return account


@router.get("")
async def list_people(
    db: DbSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: UUID | None = None,
) -> list[PersonOut]:
    """In the order of their ids; `after` is the last id of the page before."""
    query = select(Account).where(Account.kind == "person").order_by(Account.id).limit(limit)
    page = query if after is None else query.where(Account.id > after)
    people = (await db.scalars(page)).all()
    having = select(AccountRole).where(AccountRole.account_id.in_([account.id for account in people]))
    roles: dict[UUID, set[str]] = {account.id: set() for account in people}
    for row in await db.scalars(having):
        roles[row.account_id].add(row.role)
    return [_shown(account, believed(roles[account.id])) for account in people]


@router.post("", status_code=201, dependencies=[recent_login])
async def create_person(new: NewPerson, caller: Caller, db: DbSession) -> InvitationOut:
    roles = first_role() if new.roles is None else new.roles
    try:
        account = await accounts.create(db, new.name, roles=roles)
    except AccountExists:
        raise Problem(409, detail="There is an account of this name.") from None
    except BadName:
        found = {"pointer": "/body/name", "detail": "is no name to log in with", "code": "bad_name"}
        raise Problem(422, detail="The request is not valid.", errors=[found]) from None
    events.record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="created")
    return InvitationOut(id=account.id, activation_token=await invitations.invite(db, account))


@router.post("/{person_id:uuid}/invite", dependencies=[recent_login])
async def invite_person(person_id: UUID, caller: Caller, db: DbSession) -> InvitationOut:
    account = await _person(db, person_id)
    events.record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="invited")
    return InvitationOut(id=account.id, activation_token=await invitations.invite(db, account))


@router.patch("/{person_id:uuid}", dependencies=[recent_login])
async def change_person(
    request: Request, person_id: UUID, change: PersonChange, caller: Caller, db: DbSession
) -> PersonOut:
    await _lock_administrators_and(db, person_id)
    if caller.id not in await _administrators(db):
        raise Problem(403, detail="Your role was taken from you just now.")
    account = await _person(db, person_id)
    if change.roles is not None:
        await _set_roles(db, account, {role.value for role in change.roles}, caller)
    if change.is_active is not None and change.is_active != account.is_active:
        await accounts.set_active(db, account, change.is_active)
    if not await _administrators(db):
        raise Problem(409, detail="This is the last administrator who can log in.")
    forget_on_commit(request, db, account.id)
    return _shown(account, await accounts.roles_of(db, account.id))


@router.delete("/{person_id:uuid}/sessions", status_code=204, dependencies=[recent_login])
async def end_sessions(request: Request, person_id: UUID, caller: Caller, db: DbSession) -> None:
    account = await _person(db, person_id)
    await accounts.end_sessions(db, account.id)
    events.record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="sessions_ended")
    events.record_change(db, Event.SESSION_ENDED, actor=caller.id, subject=account.id, reason="by_administrator")
    forget_on_commit(request, db, account.id)


async def _set_roles(db: AsyncSession, account: Account, wanted: set[str], caller: Principal) -> None:
    if account.id == caller.id:
        raise Problem(403, detail="Nobody changes their own roles.")
    await accounts.set_roles(db, account.id, wanted, actor=caller.id)


async def _lock_administrators_and(db: AsyncSession, person: UUID) -> None:
    """Of two who take the role from each other at once, the second sees what the first did.

    Everyone in one statement and one order, disabled ones too: nobody waits crosswise for one locked later.
    """
    administrators = select(AccountRole.account_id).where(AccountRole.role == ADMIN)
    concerned = select(Account.id).where((Account.id == person) | Account.id.in_(administrators))
    await db.execute(concerned.order_by(Account.id).with_for_update())


async def _administrators(db: AsyncSession) -> list[UUID]:
    able = (Account.is_active, Account.password_hash != UNUSABLE_PASSWORD)
    return list(await db.scalars(select(Account.id).join(AccountRole).where(AccountRole.role == ADMIN, *able)))


def install(app: FastAPI) -> None:
    app.routes.extend(router.routes)
