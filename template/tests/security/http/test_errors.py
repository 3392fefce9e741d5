"""Errors are problem documents that say what went wrong for the caller, and nothing about us or of what was sent."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from app.database import DbSession
from app.security.access.identity import public
from app.security.compose import fastapi_options, secure
from app.security.core.events import Event
from app.security.core.tables import Account
from tests.security.callers import AsCaller
from tests.security.http.test_headers import EXPECTED
from tests.security.sample_resource import client_of_things  # noqa: F401

CANARY = "canary-7f3a"
JSON = {"Content-Type": "application/json"}


class Circle(BaseModel):
    kind: Literal["circle"]


class Square(BaseModel):
    kind: Literal["square"]


class Raising:
    """A layer of the owner's, which raises what only routes usually do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/layer":
            raise HTTPException(460)
        await self.app(scope, receive, send)


async def raises() -> None:
    raise RuntimeError(CANARY)


async def server_error() -> None:
    raise HTTPException(500, detail=CANARY)


async def database(sqlstate: str, connecting: bool = False) -> None:
    said = Exception(CANARY)
    said.sqlstate = sqlstate  # type: ignore[attr-defined]
    raise said if connecting else DBAPIError("SELECT 1", None, said)


async def stale(db: DbSession) -> None:
    account = Account(kind="service", name="one", login="one")
    db.add(account)
    await db.flush()
    await db.execute(text("DELETE FROM accounts"))
    account.name = "two"


async def commits(db: DbSession) -> str:
    db.add_all([Account(kind="service", name="one", login="one"), Account(kind="service", name="one", login="one")])
    return "committed"


async def teapot() -> None:
    raise HTTPException(418, detail="short and stout")


async def unheard_of() -> None:
    raise HTTPException(460, detail="of the owner's own")


LOOP: list[object] = []
LOOP.append(LOOP)
DETAILS: dict[str, tuple[object, object]] = {
    "an object": ({"code": "x", "id": UUID(int=0)}, {"code": "x", "id": str(UUID(int=0))}),
    "a list": ([{"code": "é"}, None], [{"code": "é"}, None]),
    "no number": ({"x": math.nan}, "{'x': nan}"),
    "a pair as a key": ({(1, 2): 3}, "{(1, 2): 3}"),
    "itself": (LOOP, "[[...]]"),
}


async def structured(name: str) -> None:
    raise HTTPException(400, detail=DETAILS[name][0])


async def shapes(shape: Annotated[Circle | Square, Field(discriminator="kind")]) -> None: ...


ROUTES = {
    "/raises": ("GET", raises),
    "/server-error": ("GET", server_error),
    "/database/{sqlstate}": ("GET", database),
    "/stale": ("PATCH", stale),
    "/commits": ("POST", commits),
    "/unheard-of": ("GET", unheard_of),
    "/structured": ("GET", structured),
    "/shapes": ("POST", shapes),
}


@pytest.fixture
def failing(environment: Callable[..., None]) -> Iterator[TestClient]:
    """An app with routes that fail in several ways."""
    environment()
    app, below = FastAPI(**fastapi_options()), FastAPI(**fastapi_options())
    for path, (method, endpoint) in ROUTES.items():
        app.add_api_route(path, endpoint, methods=[method], dependencies=[public])
    below.add_api_route("/raises", teapot, dependencies=[public])
    below.add_api_route("/crashes", raises, dependencies=[public])
    app.add_middleware(Raising)
    app.mount("/below", below)
    secure(app)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def test_an_unexpected_error_says_nothing_and_is_logged(
    failing: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = failing.get("/raises")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    assert CANARY in capsys.readouterr().out


def test_the_text_of_a_server_error_is_for_the_log(failing: TestClient) -> None:
    answer = failing.get("/server-error")

    assert answer.status_code == 500
    assert CANARY not in answer.text


PASSING = ("08006", "28P01", "40001", "40P01", "53300", "57P03", "55000", "55P03", "25006")
STATES = dict.fromkeys(PASSING, 503) | {"57014": 504, "22021": 422, "23505": 500, "42P01": 500}


@pytest.mark.parametrize("connecting", [False, True])
@pytest.mark.parametrize(("sqlstate", "status"), STATES.items())
def test_a_database_that_cannot_serve_now_is_no_crash(
    failing: TestClient,
    recorded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    sqlstate: str,
    status: int,
    connecting: bool,
) -> None:
    answer = failing.get(f"/database/{sqlstate}", params={"connecting": connecting})

    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)
    assert (Event.CRASH in [fields["event"] for fields in recorded]) == (status == 500)
    logged = capsys.readouterr().out
    assert (f"{sqlstate}, request" in logged) == (status > 500)
    assert (CANARY in logged) == (status == 500)


def test_what_somebody_else_removed_just_now_is_a_conflict(failing: TestClient, recorded: list[dict[str, Any]]) -> None:
    answer = failing.patch("/stale")

    assert answer.status_code == 409
    assert Event.CRASH not in [fields["event"] for fields in recorded]


def test_a_commit_that_fails_is_never_a_success(failing: TestClient) -> None:
    assert failing.post("/commits").status_code == 500


def test_an_app_mounted_below_answers_in_the_same_form(failing: TestClient) -> None:
    for path, status in (("/below/raises", 418), ("/below/nothing", 404), ("/below/crashes", 500)):
        answer = failing.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert CANARY not in answer.text


@pytest.mark.parametrize("path", ["/unheard-of", "/layer"])
def test_a_status_that_nobody_knows_is_answered_like_any_other(failing: TestClient, path: str) -> None:
    answer = failing.get(path)

    assert answer.status_code == answer.json()["status"] == 460
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED


@pytest.mark.parametrize("name", DETAILS)
def test_a_structure_as_the_detail_of_an_exception_stands_beside_a_text(failing: TestClient, name: str) -> None:
    answer = failing.get("/structured", params={"name": name})

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (answer.json()["detail"], answer.json()["details"]) == ("Bad Request", DETAILS[name][1])


def test_a_shape_that_nobody_knows_is_not_echoed(failing: TestClient) -> None:
    answer = failing.post("/shapes", json={"kind": CANARY})

    assert answer.status_code == 422
    assert CANARY not in answer.text


BODIES = {
    "NaN": b'{"title": NaN}',
    "infinity": b'{"title": 1e999}',
    "a lone surrogate": b'{"title": "\\ud800"}',
    "nesting": b"[" * 100_000,
    "cut short": b'{"title": "' + CANARY.encode(),
    "no UTF-8": b'{"title": "\xff' + CANARY.encode() + b'"}',
    "another type": b'{"title": ["' + CANARY.encode() + b'"]}',
    "an unknown member": b'{"title": "x", "' + CANARY.encode() + b'": "' + CANARY.encode() + b'"}',
    "no object": b'"' + CANARY.encode() + b'"',
    "nothing": b"null",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_an_odd_body_is_refused_without_an_echo(as_caller: AsCaller, body: bytes) -> None:
    answer = as_caller().post("/things", content=body, headers=JSON)

    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= {"type", "title", "status", "detail", "instance"}
    assert CANARY not in answer.text


def test_an_id_that_is_none_is_not_echoed(as_caller: AsCaller) -> None:
    answer = as_caller().delete(f"/things/{CANARY}")

    assert answer.status_code == 422
    assert CANARY not in answer.text


def test_the_instance_is_the_id_in_the_header(client: TestClient) -> None:
    answer = client.get("/nothing")

    assert answer.json()["instance"] == f"urn:request:{answer.headers['x-request-id']}"
