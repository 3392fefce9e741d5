"""Requirements and rows that are used where they protect nothing: the app does not start, or the request fails."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app import database
from app.database import DbSession
from app.security.access.identity import Caller, public, require_scope
from app.security.access.policy import InsecureApp
from app.security.core.tables import Account
from app.security.operations.start_up import check_app
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

Environment = Callable[..., None]


class Check:
    async def __call__(self, caller: Caller) -> None:
        raise AssertionError


def test_a_requirement_in_the_body_of_a_route_fails_the_request(make_client: MakeClient, as_caller: AsCaller) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/in-body")
        async def in_body(caller: Caller) -> str:
            require_scope("reports:read")
            return "secret"

        @app.get("/in-lambda", dependencies=[Depends(lambda: require_scope("reports:read"))])
        async def in_lambda(caller: Caller) -> str:
            return "secret"

    caller = as_caller(client=make_client(build=lambda: assemble(add)))

    assert [caller.get(path).status_code for path in ("/in-body", "/in-lambda")] == [500, 500]


def test_a_class_that_is_made_and_never_called_fails_at_start_up(environment: Environment) -> None:
    environment()

    def add(app: FastAPI) -> None:
        app.get("/reports", dependencies=[public, Depends(Check)])(lambda: "secret")

    with pytest.raises(InsecureApp, match=r"GET /reports never calls Check: write Check\(…\)"):
        check_app(assemble(add))


def test_a_session_that_commits_after_the_response_fails_at_start_up(environment: Environment) -> None:
    environment()

    def add(app: FastAPI) -> None:
        @app.post("/late", dependencies=[public])
        async def late(db: Annotated[AsyncSession, Depends(database.session)]) -> None: ...

    with pytest.raises(InsecureApp, match="POST /late: Depends\\(session\\) commits after the response"):
        check_app(assemble(add))


def test_a_row_of_an_account_is_no_response(make_client: MakeClient, as_caller: AsCaller) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/row")
        async def row(caller: Caller, db: DbSession):  # type: ignore[no-untyped-def]
            return await db.get(Account, caller.id)

    caller: Any = as_caller(client=make_client(build=lambda: assemble(add)))
    response = caller.get("/row")

    assert (response.status_code, "hash" in response.text) == (500, False)


def test_a_hundred_scopes_lock_nobody_out(make_client: MakeClient, as_person: Callable[..., TestClient]) -> None:
    def add(app: FastAPI) -> None:
        for number in range(200):
            app.get(f"/{number}", dependencies=[require_scope(f"resource-{number:03}:write")])(lambda: "ok")

    person = as_person(client=make_client(build=lambda: assemble(add)))

    assert person.get("/users/me").status_code == 200
    assert person.get("/7").status_code == 200
