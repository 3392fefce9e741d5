"""What a transaction refuses, and how many of them the requests of one client may hold."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import AwareDatetime
from sqlalchemy.exc import InvalidRequestError

from app.database import DbSession
from app.security.access import accounts
from app.security.access.identity import Caller, public, require_scope
from app.security.access.policy import InsecureApp
from app.security.core.tables import Account
from app.security.operations.start_up import check_app
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import Database, MakeClient
from tests.security.raw_asgi import ask, nothing_more

SCOPE = "things:read"


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
    assert errors == ["a DbSession commits itself when its route returns: write flush(), not commit()"]
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


def test_one_client_holds_a_share_of_the_connections(make_client: MakeClient, as_caller: AsCaller) -> None:
    """Others are served while somebody waits for many slow responses."""
    inside: list[str] = []
    over = asyncio.Event()

    def add(app: FastAPI) -> None:
        @app.get("/slow", dependencies=[require_scope(SCOPE)])
        async def slow(caller: Caller, db: DbSession) -> None:
            inside.append(caller.name)
            await over.wait()

    client = make_client(build=lambda: assemble(add))
    greedy, other = as_caller(scope=SCOPE, client=client), as_caller(scope=SCOPE, client=client)

    async def call() -> list[int]:
        def get(caller: Any) -> "asyncio.Task[int]":
            sent = {name.replace("-", "_"): caller.headers[name] for name in caller.headers}
            return asyncio.ensure_future(ask(caller, "/slow", nothing_more, "GET", **{**sent, "host": "localhost"}))

        calls = [get(greedy) for _ in range(8)]
        await asyncio.sleep(0.2)
        calls.append(get(other))
        await asyncio.sleep(0.2)
        served = list(inside)
        over.set()
        assert (served.count(greedy.name), served.count(other.name)) == (5, 1)
        return [await one for one in calls]

    assert client.portal is not None
    assert client.portal.call(call) == [200] * 9


def test_a_socket_that_would_keep_a_connection_fails_at_start_up(environment: Callable[..., None]) -> None:
    environment()

    def add(app: FastAPI) -> None:
        @app.websocket("/feed", dependencies=[public])
        async def feed(db: DbSession) -> None: ...

    with pytest.raises(InsecureApp, match=r"/feed: a socket would keep DbSession's connection while it is open"):
        check_app(assemble(add))
