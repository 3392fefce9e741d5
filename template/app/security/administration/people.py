"""Administration of people by administrators over HTTP, and `manage users roles`.

A change needs a login of the last 15 minutes, and confirms the caller in its transaction (`AdministratorSession`).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import DbSession
from app.security.access import accounts
from app.security.access.identity import Caller
from app.security.access.roles import ADMIN, Role, first_role, require_role, set_roles
from app.security.administration.commands import Name, checked_roles, person_named
from app.security.administration.self_service import delete_account, invite
from app.security.authentication.recent_login import ConfirmCaller
from app.security.core.events import Event, record, record_change
from app.security.core.problems import Problem, conflict
from app.security.core.tables import UNUSABLE_PASSWORD, Account, AccountRole, normalise_login

# Paths below it take `{person_id:uuid}`, so that /users/me is none of them.
router = APIRouter(prefix="/users", tags=["people"], dependencies=[require_role(ADMIN)])

Roles = Annotated[list[Role], Field(max_length=20)]
EXAMPLE = [sorted(first_role())]  # of roles, in the OpenAPI document: never the administrator's
last_administrator = conflict("This is the last administrator who can log in")
AdministratorSession = Annotated[AsyncSession, Depends(ConfirmCaller(ADMIN))]
"""A transaction of an administrator who logged in recently. It locks every administrator: their changes are serial."""


class PersonOut(BaseModel):
    id: UUID
    name: str = Field(examples=["ann@example.com"])
    roles: list[str] = Field(examples=EXAMPLE)
    is_active: bool
    is_activated: bool
    created_at: datetime


class PersonCreate(BaseModel, extra="forbid"):
    name: str = Field(min_length=1, max_length=254, examples=["ann@example.com"])
    roles: Roles | None = Field(None, examples=EXAMPLE)


class PersonChange(BaseModel, extra="forbid"):
    roles: Roles | None = Field(None, examples=EXAMPLE)
    is_active: StrictBool | None = None


class InvitationOut(BaseModel):
    """The token is shown here once; it sets the password at POST /auth/activate within 24 hours."""

    id: UUID
    activation_token: str = Field(examples=["ot_…"])


@router.get("")
async def list_people(
    db: DbSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: UUID | None = None,
    name: Annotated[str | None, Query(min_length=1, max_length=254)] = None,
) -> list[PersonOut]:
    """Ordered by id; `after` is the last id of the previous page, `name` a part of the names in any case."""
    query = select(Account).where(Account.kind == "person").order_by(Account.id).limit(limit)
    if name is not None:
        query = query.where(Account.login.contains(normalise_login(name), autoescape=True))
    people = (await db.scalars(query if after is None else query.where(Account.id > after))).all()
    roles: dict[UUID, set[str]] = {account.id: set() for account in people}
    for row in await db.scalars(select(AccountRole).where(AccountRole.account_id.in_(roles))):
        roles[row.account_id].add(row.role)
    return [_shown(account, accounts.configured_roles(roles[account.id])) for account in people]


@router.post("", status_code=201, responses=conflict("The name is taken"))
async def create_person(
    request: Request, response: Response, new: PersonCreate, caller: Caller, db: AdministratorSession
) -> InvitationOut:
    """A new person, with an invitation to choose a password."""
    try:
        account = await accounts.create(db, new.name, roles=first_role() if new.roles is None else new.roles)
    except accounts.BadName as error:
        errors = [{"pointer": "/body/name", "detail": error.detail, "code": "bad_name"}]
        raise Problem(422, detail="The request is not valid.", errors=errors) from None
    record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="created")
    response.headers["Location"] = f"{request.url.path}/{account.id}"
    return InvitationOut(id=account.id, activation_token=await invite(db, account, caller.id))


@router.get("/{person_id:uuid}")
async def read_person(person_id: UUID, db: DbSession) -> PersonOut:
    account = await db.get(Account, person_id)
    if account is None or account.kind != "person":
        raise Problem(404)
    return _shown(account, await accounts.roles_of(db, account.id))


@router.post("/{person_id:uuid}/invite")
async def invite_person(person_id: UUID, caller: Caller, db: AdministratorSession) -> InvitationOut:
    """A new invitation, for a forgotten password; earlier ones end. Not for administrators, oneself included."""
    account = await _person(db, person_id)
    if ADMIN in await accounts.roles_of(db, account.id):
        record(Event.AUTHZ_FAIL, outcome="failure", subject=account.id, reason="invites_an_administrator")
        raise Problem(403, detail="Administrators are invited at the terminal: uv run manage users invite NAME")
    record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="invited")
    return InvitationOut(id=account.id, activation_token=await invite(db, account, caller.id))


@router.patch("/{person_id:uuid}", responses=last_administrator)
async def change_person(person_id: UUID, change: PersonChange, caller: Caller, db: AdministratorSession) -> PersonOut:
    """Change roles, disable or enable. The last administrator who can log in stays."""
    account = await _person(db, person_id)
    if change.roles is not None:
        if account.id == caller.id:
            record(Event.AUTHZ_FAIL, outcome="failure", subject=account.id, reason="own_roles")
            raise Problem(403, detail="Nobody changes their own roles.")
        await set_roles(db, account.id, {role.value for role in change.roles}, actor=caller.id)
    if change.is_active is not None and change.is_active != account.is_active:
        await accounts.set_active(db, account, change.is_active)
    await _keep_an_administrator(db)
    return _shown(account, await accounts.roles_of(db, account.id))


@router.delete("/{person_id:uuid}", status_code=204, responses=last_administrator)
async def delete_person(person_id: UUID, caller: Caller, db: AdministratorSession) -> None:
    """Erase a person and what belongs to them. Not oneself; the last administrator who can log in stays."""
    account = await _person(db, person_id)
    if account.id == caller.id:
        record(Event.AUTHZ_FAIL, outcome="failure", subject=account.id, reason="own_account")
        raise Problem(403, detail="Nobody deletes their own account here.")
    record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="deleted")
    await delete_account(db, account)
    await _keep_an_administrator(db)


@router.delete("/{person_id:uuid}/sessions", status_code=204)
async def end_sessions(person_id: UUID, caller: Caller, db: AdministratorSession) -> None:
    """End every session of a person."""
    account = await _person(db, person_id)
    await accounts.end_sessions(db, account.id)
    record_change(db, Event.AUTHZ_ADMIN, actor=caller.id, subject=account.id, reason="sessions_ended")
    record_change(db, Event.SESSION_ENDED, actor=caller.id, subject=account.id, reason="by_administrator")


async def replace_roles(
    db: AsyncSession, name: Name, role: Annotated[list[str], typer.Option(help="A role; may be repeated.")]
) -> str:
    """Give a person these roles and no others. It may take the last administrator's."""
    chosen, person = checked_roles(role, list(Role)), await person_named(db, name)
    before, _, after = (await set_roles(db, person.id, chosen)).partition("->")
    return f"Roles of {person.name}: {after} (before: {before or 'none'})."


async def _keep_an_administrator(db: AsyncSession) -> None:
    """Raises: Problem 409 when no administrator who can log in is left."""
    administrators = select(AccountRole.account_id).where(AccountRole.role == ADMIN)
    able = (Account.id.in_(administrators), Account.is_active, Account.password_hash != UNUSABLE_PASSWORD)
    if not await db.scalar(select(exists().where(*able))):
        raise Problem(409, detail="This is the last administrator who can log in.")


async def _person(db: AsyncSession, person: UUID) -> Account:
    """A person, locked until the transaction ends. Raises: Problem 404."""
    locked = select(Account).where(Account.id == person, Account.kind == "person").with_for_update()
    account = await db.scalar(locked.execution_options(populate_existing=True))
    if account is None:
        raise Problem(404)
    return account


def _shown(account: Account, roles: Iterable[str]) -> PersonOut:
    return PersonOut(
        id=account.id,
        name=account.name,
        roles=sorted(roles),
        is_active=account.is_active,
        is_activated=account.password_hash != UNUSABLE_PASSWORD,
        created_at=account.created_at,
    )
