"""What the database holds to, whoever writes at the same time and whatever goes wrong half-way."""

import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import DbSession, before_commit, engine_options
from app.security.access import accounts
from app.security.access.identity import public
from app.security.admission.request_guard import RequestGuardSettings
from app.security.compose import fastapi_options, secure
from app.security.core.tables import Account, AccountRole
from tests.security.callers import AsCaller, CallerClient
from tests.security.fixtures import POSTGRES, Database, MakeClient
from tests.security.sample_resource import client_of_things  # noqa: F401
from tests.security.timing import at_once


def write(caller: CallerClient) -> int:
    return int(caller.post("/things", json={"title": "one of many"}).status_code)


def test_twenty_writers_at_once_all_succeed(as_caller: AsCaller) -> None:
    caller = as_caller()

    assert at_once([partial(write, caller)] * 20) == [201] * 20
    assert caller.get("/things").json() == 20


def test_twenty_who_read_before_they_write_all_succeed(
    environment: Callable[..., None], make_client: MakeClient
) -> None:
    environment()
    app = FastAPI(**fastapi_options())

    @app.post("/count", dependencies=[public])
    async def count(db: DbSession) -> None:
        account = (await db.execute(text("SELECT token_version FROM accounts"))).scalar_one()
        await db.execute(text("UPDATE accounts SET token_version = token_version + 1"))
        assert account is not None

    secure(app)
    client = make_client(app)

    async def create(db: AsyncSession) -> None:
        await accounts.create(db, "someone", kind="service")

    Database(client).run(create)

    statuses = at_once([lambda: int(client.post("/count").status_code)] * 20)

    assert statuses == [200] * 20
    assert Database(client).rows("SELECT token_version FROM accounts") == [(20,)]


def test_what_fails_half_way_leaves_nothing(environment: Callable[..., None], make_client: MakeClient) -> None:
    environment()
    app = FastAPI(**fastapi_options())

    @app.post("/half", dependencies=[public])
    async def half(db: DbSession) -> None:
        await accounts.create(db, "half", kind="service")
        raise RuntimeError

    secure(app)
    client = make_client(app)

    assert client.post("/half").status_code == 500
    assert Database(client).rows("SELECT * FROM accounts") == []


def test_what_cannot_be_committed_is_not_answered_with_success(
    environment: Callable[..., None], make_client: MakeClient
) -> None:
    environment()
    app = FastAPI(**fastapi_options())

    async def fail() -> None:
        raise ConnectionError

    @app.post("/late", dependencies=[public])
    async def late(db: DbSession) -> None:
        await accounts.create(db, "late", kind="service")
        before_commit(db, fail)

    secure(app)
    client = make_client(app)

    assert client.post("/late").status_code == 503
    assert Database(client).rows("SELECT * FROM accounts") == []


@pytest.mark.skipif(not POSTGRES, reason="SQLite has no server that could fall silent")
def test_a_database_that_falls_silent_is_not_waited_for(
    environment: Callable[..., None], make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment()
    monkeypatch.setattr("app.database.SILENT_SECONDS", 0.3)
    app = FastAPI(**fastapi_options())

    @app.get("/silent", dependencies=[public])
    async def silent(db: DbSession) -> None:
        await db.execute(text("SELECT pg_sleep(4)"))

    secure(app)
    started = time.monotonic()
    answer = make_client(app).get("/silent")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert time.monotonic() - started < 3


def test_the_driver_waits_longer_than_the_server_and_shorter_than_a_request(environment: Callable[..., None]) -> None:
    environment()

    _, arguments = engine_options(make_url("postgresql+asyncpg://api@localhost/api"))

    server = float(arguments["server_settings"]["statement_timeout"]) / 1000
    assert server < arguments["command_timeout"] < RequestGuardSettings.current().response_seconds / 2


def test_nothing_belongs_to_an_account_that_is_not_there(database: Database) -> None:
    async def insert(session: AsyncSession) -> None:
        session.add(AccountRole(account_id=uuid4(), role="admin"))
        await session.flush()

    with pytest.raises(IntegrityError):
        database.run(insert)


@pytest.mark.parametrize(
    ("kind", "password_hash"), [("service", "'x'"), ("caller", "NULL"), ("robot", "NULL"), ("robot", "'x'")]
)
def test_no_statement_gives_a_service_a_password_or_takes_it_from_a_person(
    database: Database, kind: str, password_hash: str
) -> None:
    account = Account(kind=kind, name="x", login="x", password_hash=None if password_hash == "NULL" else "x")

    async def insert(session: AsyncSession) -> None:
        session.add(account)
        await session.flush()

    with pytest.raises(IntegrityError):
        database.run(insert)


def test_names_that_fold_alike_are_one_name(database: Database) -> None:
    async def create(session: AsyncSession, name: str) -> None:
        await accounts.create(session, name, kind="service")

    database.run(partial(create, name="Straße"))

    for name in ("STRASSE", "\u017ftrasse", "\uff33trasse"):
        with pytest.raises(accounts.AccountExists):
            database.run(partial(create, name=name))
