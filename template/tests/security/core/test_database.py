"""What the database holds to, whoever writes at the same time and whatever goes wrong half-way."""

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database as ServiceDatabase
from app.database import DbSession, before_commit, sqlite_files
from app.security.access import accounts
from app.security.access.identity import public
from app.security.compose import fastapi_options, secure
from app.security.core.tables import Account, AccountRole
from tests.security.callers import AsCaller, CallerClient
from tests.security.fixtures import POSTGRES, Database, MakeClient
from tests.security.sample_resource import client_of_things  # noqa: F401
from tests.security.timing import at_once

Environment = Callable[..., None]


def write(caller: CallerClient) -> int:
    return int(caller.post("/things", json={"title": "one of many"}).status_code)


def test_twenty_writers_at_once_all_succeed(as_caller: AsCaller) -> None:
    caller = as_caller()

    assert at_once([partial(write, caller)] * 20) == [201] * 20
    assert caller.get("/things").json() == 20


def test_twenty_who_read_before_they_write_all_succeed(environment: Environment, make_client: MakeClient) -> None:
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


def test_what_fails_half_way_leaves_nothing(environment: Environment, make_client: MakeClient) -> None:
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
    environment: Environment, make_client: MakeClient
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
    environment: Environment, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment()
    monkeypatch.setattr("app.database.DRIVER_GRACE_SECONDS", -4.7)
    app = FastAPI(**fastapi_options())

    @app.get("/silent", dependencies=[public])
    async def silent(db: DbSession) -> None:
        await db.execute(text("SELECT pg_sleep(4)"))

    secure(app)
    started = time.monotonic()
    answer = make_client(app).get("/silent")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert time.monotonic() - started < 3


@pytest.mark.skipif(not POSTGRES, reason="SQLite has no server")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statement_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
    ],
)
def test_a_connection_ends_a_transaction_whose_client_is_gone(database: Database, name: str, value: str) -> None:
    assert database.rows(f"SHOW {name}") == [(value,)]


@pytest.mark.skipif(not POSTGRES, reason="SQLite has no server")
def test_an_idle_transaction_frees_its_locks(make_client: MakeClient) -> None:
    client = make_client(DATABASE_IDLE_SECONDS="0.2")

    async def idle(db: AsyncSession) -> None:
        await db.execute(text("SELECT 1"))
        await asyncio.sleep(0.6)
        await db.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError):
        Database(client).run(idle)


@pytest.mark.skipif(bool(POSTGRES), reason="PostgreSQL keeps no file here")
@pytest.mark.parametrize("existing", [None, 0o644])
def test_no_other_user_reads_the_files_of_sqlite(
    environment: Environment, tmp_path: Path, existing: int | None
) -> None:
    path = tmp_path / "app.sqlite3"
    if existing:
        path.touch()
        path.chmod(existing)
    environment(DATABASE_URL=f"sqlite:///{path}")

    async def connect() -> dict[str, int]:
        database = ServiceDatabase()
        async with database.begin() as db:
            await db.execute(text("CREATE TABLE one (id INTEGER)"))
        modes = {each.name: each.stat().st_mode & 0o777 for each in sqlite_files(database.engine.url)}
        await database.close()
        return modes

    old_umask = os.umask(0o022)
    try:
        modes = asyncio.run(connect())
    finally:
        os.umask(old_umask)
    assert modes == dict.fromkeys(("app.sqlite3", "app.sqlite3-wal", "app.sqlite3-shm"), 0o600)


async def write_later(db: AsyncSession) -> None:
    await accounts.create(db, "later", kind="service")


def test_a_background_task_that_uses_the_routes_session_is_an_error(
    environment: Environment, make_client: MakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    environment()
    app = FastAPI(**fastapi_options())

    @app.post("/later", dependencies=[public])
    async def later(db: DbSession, tasks: BackgroundTasks) -> None:
        tasks.add_task(write_later, db)

    secure(app)
    client = make_client(app)
    client.post("/later")

    assert "Database.begin()" in capsys.readouterr().out
    assert Database(client).rows("SELECT * FROM accounts") == []


def test_a_background_task_writes_in_a_transaction_of_its_own(
    environment: Environment, make_client: MakeClient
) -> None:
    environment()
    app = FastAPI(**fastapi_options())

    async def work(database: ServiceDatabase) -> None:
        async with database.begin() as db:
            await write_later(db)

    @app.post("/later", dependencies=[public])
    async def later(request: Request, tasks: BackgroundTasks) -> None:
        tasks.add_task(work, request.app.state.database)

    secure(app)
    client = make_client(app)

    assert client.post("/later").status_code == 200
    assert Database(client).rows("SELECT name FROM accounts") == [("later",)]


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


@pytest.mark.parametrize(
    "invisible", ["\ufe0f", "\u034f", "\u115f", "\u3164", "\uffa0", "\u180b", "\U000e0100", "\u200b"]
)
def test_no_account_is_named_with_a_character_that_shows_nothing(database: Database, invisible: str) -> None:
    async def create(session: AsyncSession) -> None:
        await accounts.create(session, f"bo{invisible}b", kind="service")

    with pytest.raises(accounts.BadName):
        database.run(create)


def test_names_that_fold_alike_are_one_name(database: Database) -> None:
    async def create(session: AsyncSession, name: str) -> None:
        await accounts.create(session, name, kind="service")

    database.run(partial(create, name="Straße"))

    for name in ("STRASSE", "\u017ftrasse", "\uff33trasse"):
        with pytest.raises(accounts.AccountExists):
            database.run(partial(create, name=name))
