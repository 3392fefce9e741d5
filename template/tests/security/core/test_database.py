"""Transactions, the files of SQLite, the time-outs of PostgreSQL, and names of accounts."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database as ServiceDatabase
from app.database import DbSession, before_commit, sqlite_files
from app.security.access import accounts
from app.security.access.identity import public
from app.security.compose import fastapi_options, secure
from tests.security.callers import AsCaller, CallerClient
from tests.security.fixtures import POSTGRES, Database, MakeClient
from tests.security.sample_resource import client_of_things  # noqa: F401
from tests.security.timing import at_once

Environment = Callable[..., None]


def write(caller: CallerClient) -> int:
    return int(caller.post("/things", json={"title": "one of many"}).status_code)


@pytest.mark.slow
def test_twenty_writers_at_once_all_succeed(as_caller: AsCaller) -> None:
    caller = as_caller()

    assert at_once([partial(write, caller)] * 20) == [201] * 20
    assert caller.get("/things").json() == 20


def test_a_failing_commit_is_never_a_success(environment: Environment, make_client: MakeClient) -> None:
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_name_has_an_invisible_character(database: Database) -> None:
    async def create(session: AsyncSession, name: str) -> None:
        await accounts.create(session, name, kind="service")

    for invisible in "\ufe0f\u034f\u115f\u3164\uffa0\u180b\U000e0100\u200b":
        with pytest.raises(accounts.BadName):
            database.run(partial(create, name=f"bo{invisible}b"))


def test_names_that_fold_alike_are_the_same_name(database: Database) -> None:
    async def create(session: AsyncSession, name: str) -> None:
        await accounts.create(session, name, kind="service")

    database.run(partial(create, name="Straße"))

    for name in ("STRASSE", "\u017ftrasse", "\uff33trasse"):
        with pytest.raises(accounts.AccountExists):
            database.run(partial(create, name=name))
