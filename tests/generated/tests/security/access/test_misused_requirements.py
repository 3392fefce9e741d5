"""Requirements and rows that are used where they protect nothing: the app does not start, or the request fails."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Security
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app import database
from app.database import DbSession
from app.security.access.identity import Caller, authenticate, public, require_scope
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


class StricterCheck(Check): ...


class Person(Account): ...


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


@pytest.mark.parametrize("kind", [Check, StricterCheck])
def test_a_class_that_is_made_and_never_called_fails_at_start_up(environment: Environment, kind: type[Check]) -> None:
    environment()

    def add(app: FastAPI) -> None:
        app.get("/reports", dependencies=[public, Depends(kind)])(lambda: "secret")

    with pytest.raises(InsecureApp, match=rf"GET /reports never calls {kind.__name__}: write {kind.__name__}\(…\)"):
        check_app(assemble(add))


@pytest.mark.parametrize("annotated", [Caller, DbSession])
def test_an_annotated_type_in_depends_fails_at_start_up(environment: Environment, annotated: Any) -> None:
    """FastAPI would read the arguments of a principal or a session from the query, and answer each request with 422."""
    environment()

    def add(app: FastAPI) -> None:
        app.get("/reports", dependencies=[require_scope("reports:read"), Depends(annotated)])(lambda: "secret")

    with pytest.raises(InsecureApp, match="GET /reports: write `caller: Caller` or `db: DbSession` in place of"):
        check_app(assemble(add))


@pytest.mark.parametrize("scope", ["reports:read reports:write", " reports:read", ""])
def test_two_scopes_in_one_are_refused_where_they_are_written(scope: str) -> None:
    """No credential has such a scope: it would lock out every one that is limited."""
    with pytest.raises(ValueError, match="is not one scope"):
        require_scope(scope)


def test_scopes_of_fastapis_security_fail_at_start_up(environment: Environment) -> None:
    """A key with another scope of the same route would pass."""
    environment()
    scoped = Security(authenticate, scopes=["reports:secret"])

    def add(app: FastAPI) -> None:
        app.get("/reports", dependencies=[require_scope("reports:read"), scoped])(lambda: "secret")

    with pytest.raises(InsecureApp, match="GET /reports: Security"):
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

        @app.get("/subclass")
        async def subclass(caller: Caller):  # type: ignore[no-untyped-def]
            return Person(id=caller.id, password_hash="the hash")

    caller: Any = as_caller(client=make_client(build=lambda: assemble(add)))
    responses = [caller.get(path) for path in ("/row", "/subclass")]

    assert [(response.status_code, "hash" in response.text) for response in responses] == [(500, False)] * 2


def test_a_hundred_scopes_lock_nobody_out(make_client: MakeClient, as_person: Callable[..., TestClient]) -> None:
    def add(app: FastAPI) -> None:
        for number in range(200):
            app.get(f"/{number}", dependencies=[require_scope(f"resource-{number:03}:write")])(lambda: "ok")

    person = as_person(client=make_client(build=lambda: assemble(add)))

    assert person.get("/users/me").status_code == 200
    assert person.get("/7").status_code == 200
