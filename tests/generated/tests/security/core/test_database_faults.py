"""Transactions, time-outs and constraints of the database, under parallel writers and faults."""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from fastapi import BackgroundTasks, FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.testclient import TestClient

from app.database import DbSession
from app.security.access import accounts
from app.security.access.identity import public
from app.security.compose import fastapi_options, secure
from app.security.core.tables import Account, AccountRole
from tests.security.build_app import assemble
from tests.security.fixtures import POSTGRES, Database, MakeClient
from tests.security.sample_resource import client_of_things  # noqa: F401
from tests.security.timing import at_once

Environment = Callable[..., None]


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


@pytest.mark.parametrize("kind", ["unique", "foreign key"])
def test_what_breaks_a_constraint_of_two_rows_is_a_conflict_and_no_crash(
    make_client: MakeClient, recorded: list[dict[str, object]], kind: str
) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/rows", dependencies=[public])
        async def add_row(db: DbSession) -> None:
            db.add(AccountRole(account_id=uuid4(), role="user") if kind == "foreign key" else _someone())

    client = make_client(build=lambda: assemble(add))

    async def create(db: AsyncSession) -> None:
        db.add(_someone())

    Database(client).run(create)
    answer = client.post("/rows")

    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")
    assert "sys_crash" not in [event.get("event") for event in recorded]
    assert re.match("SQLITE_CONSTRAINT_|23503|23505", str(recorded[-1]["reason"]))


def test_a_conflict_in_a_background_task_is_reported(
    make_client: MakeClient, recorded: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its response was a success, so no status would tell."""

    def add(app: FastAPI) -> None:
        async def store() -> None:
            async with app.state.database.begin() as db:
                db.add_all([_someone(), _someone()])

        @app.post("/later", dependencies=[public])
        async def later(tasks: BackgroundTasks) -> None:
            tasks.add_task(store)

    assert make_client(build=lambda: assemble(add)).post("/later").status_code == 200
    assert [event["reason"] for event in recorded if event["event"] == "sys_crash"] == ["IntegrityError"]
    assert "unhandled exception" in capsys.readouterr().out


def _someone() -> Account:
    return Account(kind="service", name="someone", login="someone")


def test_a_failing_request_changes_nothing(environment: Environment, make_client: MakeClient) -> None:
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


@pytest.mark.skipif(not POSTGRES, reason="SQLite has no server that could fall silent")
def test_a_silent_database_is_given_up(
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
def test_an_idle_transaction_frees_its_locks(make_client: MakeClient) -> None:
    client = make_client(DATABASE_IDLE_SECONDS="0.2")

    async def idle(db: AsyncSession) -> None:
        await db.execute(text("SELECT 1"))
        await asyncio.sleep(0.6)
        await db.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError):
        Database(client).run(idle)


def test_foreign_keys_are_enforced(database: Database) -> None:
    async def insert(session: AsyncSession) -> None:
        session.add(AccountRole(account_id=uuid4(), role="admin"))
        await session.flush()

    with pytest.raises(IntegrityError):
        database.run(insert)


@pytest.mark.parametrize(
    ("kind", "password_hash"), [("service", "'x'"), ("caller", "NULL"), ("robot", "NULL"), ("robot", "'x'")]
)
def test_a_person_has_a_password_hash_and_a_service_has_none(database: Database, kind: str, password_hash: str) -> None:
    account = Account(kind=kind, name="x", login="x", password_hash=None if password_hash == "NULL" else "x")

    async def insert(session: AsyncSession) -> None:
        session.add(account)
        await session.flush()

    with pytest.raises(IntegrityError):
        database.run(insert)


def test_a_time_without_zone_is_utc_whatever_the_zone_of_the_machine(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    noon = datetime(2026, 1, 1, 12)  # noqa: DTZ001

    async def keep(db: AsyncSession) -> datetime:
        account = await accounts.create(db, "erin", kind="service")
        account.created_at = noon
        await db.flush()
        await db.refresh(account)
        return account.created_at

    assert Database(client).run(keep) == noon.replace(tzinfo=UTC)
    monkeypatch.undo()
    time.tzset()


class Own(DeclarativeBase):
    """Tables of this test alone."""


class Counted(Own):
    __tablename__ = "counted"

    id: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int]


def test_several_rows_whose_ids_the_database_gives_are_stored_at_once(client: TestClient) -> None:
    async def keep(db: AsyncSession) -> list[int]:
        connection = await db.connection()
        await connection.run_sync(Own.metadata.create_all)
        rows = [Counted(count=7), Counted(count=8)]
        db.add_all(rows)
        await db.flush()
        ids = [row.id for row in rows]
        await connection.run_sync(Own.metadata.drop_all)
        return ids

    assert Database(client).run(keep) == [1, 2]
