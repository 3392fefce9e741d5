"""A sample resource, so that our tests need no route of yours; import `client_of_things` to call it as `client`."""

import hashlib
from typing import Annotated
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, select
from starlette.testclient import TestClient

from app.database import DbSession, changed_rows
from app.security.access.identity import Caller, public, require_scope
from app.security.core.problems import Problem
from app.security.core.tables import KnownAddress
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(max_length=200)]


class ThingOut(BaseModel):
    id: UUID


def _row(thing: UUID) -> bytes:
    return hashlib.sha256(thing.bytes).digest()


def add_things(app: FastAPI) -> None:
    @app.post("/things", status_code=201, dependencies=[require_scope("things:write")])
    async def make(thing: Thing, caller: Caller, db: DbSession) -> ThingOut:
        made = uuid4()
        db.add(KnownAddress(account_id=caller.id, address_hash=_row(made)))
        return ThingOut(id=made)

    @app.post("/things/judged", dependencies=[public])
    async def judge(thing: Thing) -> bool:
        return bool(thing.title)

    @app.get("/things", dependencies=[require_scope("things:read")])
    async def count(caller: Caller, db: DbSession) -> int:
        return len((await db.scalars(select(KnownAddress).where(KnownAddress.account_id == caller.id))).all())

    @app.delete("/things/{thing_id}", status_code=204, dependencies=[require_scope("things:write")])
    async def drop(thing_id: UUID, caller: Caller, db: DbSession) -> None:
        mine = (KnownAddress.account_id == caller.id, KnownAddress.address_hash == _row(thing_id))
        if not await changed_rows(db, delete(KnownAddress).where(*mine)):
            raise Problem(404)


def app_of_things() -> FastAPI:
    return assemble(add_things)


@pytest.fixture(name="client")
def client_of_things(make_client: MakeClient) -> TestClient:
    return make_client(build=app_of_things)
