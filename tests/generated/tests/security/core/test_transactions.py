"""What a transaction refuses, and what an error in it undoes."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import AwareDatetime
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError, InvalidRequestError

from app.database import DbSession, after_commit
from app.security.access import accounts
from app.security.access.identity import public
from app.security.access.policy import InsecureApp
from app.security.compose import fastapi_options
from app.security.core.tables import Account
from app.security.operations.start_up import check_app
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient


def test_a_commit_in_a_route_fails_and_stores_nothing(make_client: MakeClient) -> None:
    """It would store the change without its audit row, and keep the callers cached whom it revokes."""
    errors = []

    def add(app: FastAPI) -> None:
        @app.post("/accounts", dependencies=[public])
        async def create(db: DbSession) -> None:
            await accounts.create(db, "someone", kind="service")
            try:
                await db.commit()
            except InvalidRequestError as error:
                errors.append(str(error))
                raise

    client = make_client(build=lambda: assemble(add))

    assert client.post("/accounts").status_code == 500
    assert errors == ["a transaction commits itself at its end: write flush(), not commit()"]
    assert Database(client).rows("SELECT * FROM accounts") == []


def test_a_moment_outside_the_calendar_is_no_crash(make_client: MakeClient, recorded: list[dict[str, Any]]) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/moments", dependencies=[public])
        async def store(db: DbSession, moment: AwareDatetime) -> None:
            db.add(Account(kind="person", name="a", login="a", password_hash="x", created_at=moment))

    client = make_client(build=lambda: assemble(add))
    moments = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")

    assert [client.post("/moments", params={"moment": one}).status_code for one in moments] == [422, 422]
    assert "sys_crash" not in [event["event"] for event in recorded]


def test_what_a_failed_flush_rolled_back_is_no_success(make_client: MakeClient, recorded: list[dict[str, Any]]) -> None:
    """The error is caught, and the rest of the transaction is gone with it."""

    def add(app: FastAPI) -> None:
        @app.post("/twice", dependencies=[public], status_code=201)
        async def twice(db: DbSession) -> None:
            await accounts.create(db, "someone", kind="service")
            db.add(Account(kind="service", name="someone", login="someone"))
            with suppress(IntegrityError):
                await db.flush()

    client = make_client(build=lambda: assemble(add))

    assert client.post("/twice").status_code == 500
    assert Database(client).rows("SELECT * FROM accounts") == []
    assert "user_created" not in [event["event"] for event in recorded]


def test_what_a_failed_statement_rolled_back_is_no_success(make_client: MakeClient) -> None:
    """PostgreSQL has undone the transaction then, and answers COMMIT with a silent ROLLBACK."""

    def add(app: FastAPI) -> None:
        @app.post("/statements", dependencies=[public], status_code=201)
        async def twice(db: DbSession, savepoint: bool) -> None:
            await accounts.create(db, "someone", kind="service")
            await db.flush()
            with suppress(IntegrityError):
                async with db.begin_nested() if savepoint else nullcontext():
                    await db.execute(insert(Account).values(kind="service", name="someone", login="someone"))

        @app.post("/rollback", dependencies=[public], status_code=201)
        async def roll_back(db: DbSession) -> None:
            await accounts.create(db, "another", kind="service")
            await db.rollback()

    client = make_client(build=lambda: assemble(add))

    assert client.post("/statements", params={"savepoint": False}).status_code == 500
    assert client.post("/rollback").status_code == 500
    assert Database(client).rows("SELECT * FROM accounts") == []
    assert client.post("/statements", params={"savepoint": True}).status_code == 201
    assert len(Database(client).rows("SELECT * FROM accounts")) == 1


def test_what_a_savepoint_undid_has_no_event(make_client: MakeClient, recorded: list[dict[str, Any]]) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/import", dependencies=[public])
        async def import_some(db: DbSession) -> None:
            for name in ("first", "taken", "last"):
                with suppress(IntegrityError):
                    async with db.begin_nested():
                        await accounts.create(db, name, kind="service")
                        async with db.begin_nested():
                            await accounts.create(db, f"{name} too", kind="service")
                        if name == "taken":
                            db.add(Account(kind="service", name=name, login=name))
                            await db.flush()

    client = make_client(build=lambda: assemble(add))
    assert client.post("/import").status_code == 200

    stored = {str(row[0]).replace("-", "") for row in Database(client).rows("SELECT id FROM accounts")}
    created = [event["subject"].replace("-", "") for event in recorded if event["event"] == "user_created"]
    assert len(created) == 4
    assert set(created) == stored


def test_a_failing_action_after_a_commit_skips_none_of_the_others(make_client: MakeClient) -> None:
    """One of them drops the cached callers whom the commit has revoked."""
    done: list[str] = []

    def add(app: FastAPI) -> None:
        @app.post("/actions", dependencies=[public])
        async def act(db: DbSession) -> None:
            await accounts.create(db, "someone", kind="service")
            after_commit(db, lambda: done.append("first"))
            after_commit(db, lambda: done.remove("no such item"))
            after_commit(db, lambda: done.append("last"))

    client = make_client(build=lambda: assemble(add))

    assert client.post("/actions").status_code == 200
    assert done == ["first", "last"]


def test_a_socket_below_a_mount_gets_no_session(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        below = FastAPI(**fastapi_options())

        @below.websocket("/feed")
        async def feed(socket: WebSocket, db: DbSession) -> None:
            await socket.accept()

        app.mount("/below", below)

    client = make_client(build=lambda: assemble(add, public=["/below"]))

    with pytest.raises((WebSocketDisconnect, InvalidRequestError)), client.websocket_connect("/below/feed"):
        pass


def test_a_socket_that_would_keep_a_connection_fails_at_start_up(environment: Callable[..., None]) -> None:
    environment()

    def add(app: FastAPI) -> None:
        @app.websocket("/feed", dependencies=[public])
        async def feed(db: DbSession) -> None: ...

    with pytest.raises(InsecureApp, match=r"/feed: a socket would keep DbSession's connection while it is open"):
        check_app(assemble(add))
