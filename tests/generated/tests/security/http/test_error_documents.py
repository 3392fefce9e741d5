"""Problem documents of odd exceptions, statuses, details and bodies."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import text
from starlette.testclient import TestClient

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


async def raises() -> None:
    raise RuntimeError(CANARY)


async def stale(db: DbSession) -> None:
    account = Account(kind="service", name="one", login="one")
    db.add(account)
    await db.flush()
    await db.execute(text("DELETE FROM accounts"))
    account.name = "two"


async def find(number: int, db: DbSession) -> None:
    await db.execute(text("SELECT 1 WHERE 1 = :number"), {"number": number})


async def unmigrated(db: DbSession) -> None:
    await db.execute(text("SELECT * FROM a_table_without_migration"))


async def teapot() -> None:
    raise HTTPException(418, detail="short and stout")


async def unregistered() -> None:
    raise HTTPException(460, detail="our own")


DETAILS: dict[str, tuple[object, object]] = {
    "an object": ({"code": "x", "id": UUID(int=0)}, {"code": "x", "id": str(UUID(int=0))}),
    "a list": ([{"code": "é"}, None], [{"code": "é"}, None]),
}


async def structured(name: str) -> None:
    raise HTTPException(400, detail=DETAILS[name][0])


async def connects(sqlstate: str) -> None:
    error = Exception(CANARY)
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    raise error


async def shapes(shape: Annotated[Circle | Square, Field(discriminator="kind")]) -> None: ...


ROUTES = {
    "/stale": ("PATCH", stale),
    "/find/{number}": ("GET", find),
    "/unmigrated": ("GET", unmigrated),
    "/unregistered": ("GET", unregistered),
    "/structured": ("GET", structured),
    "/shapes": ("POST", shapes),
    "/connects/{sqlstate}": ("GET", connects),
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
    app.mount("/below", below)
    secure(app)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


TEMPORARY = ("08006", "28P01", "40001", "40P01", "53300", "57P03", "55000", "55P03", "25006")


@pytest.mark.parametrize("sqlstate", TEMPORARY)
def test_an_error_of_the_driver_while_it_connects_is_no_crash(failing: TestClient, sqlstate: str) -> None:
    answer = failing.get(f"/connects/{sqlstate}")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_row_that_was_removed_meanwhile_is_a_conflict(failing: TestClient, recorded: list[dict[str, Any]]) -> None:
    answer = failing.patch("/stale")

    assert answer.status_code == 409
    assert Event.CRASH not in [fields["event"] for fields in recorded]


def test_a_number_that_the_database_cannot_hold_is_no_crash(failing: TestClient) -> None:
    assert [failing.get(f"/find/{number}").status_code for number in (2**31 - 1, 2**63)] == [200, 422]


def test_a_table_that_no_migration_made_is_a_crash_whose_trace_names_it(
    failing: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = failing.get("/unmigrated")

    assert (answer.status_code, "retry-after" in answer.headers) == (500, False)
    assert "a_table_without_migration" in capsys.readouterr().out


def test_a_mounted_app_sends_problem_documents(failing: TestClient) -> None:
    for path, status in (("/below/raises", 418), ("/below/nothing", 404), ("/below/crashes", 500)):
        answer = failing.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert CANARY not in answer.text


def test_an_unregistered_status_gets_a_problem_document(failing: TestClient) -> None:
    answer = failing.get("/unregistered")

    assert answer.status_code == answer.json()["status"] == 460
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED


@pytest.mark.parametrize("name", DETAILS)
def test_a_structured_detail_becomes_a_member(failing: TestClient, name: str) -> None:
    answer = failing.get("/structured", params={"name": name})

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (answer.json()["detail"], answer.json()["details"]) == ("Bad Request", DETAILS[name][1])


def test_an_unknown_union_tag_is_not_echoed(failing: TestClient) -> None:
    answer = failing.post("/shapes", json={"kind": CANARY})

    assert answer.status_code == 422
    assert CANARY not in answer.text


BODIES = {
    "NaN": b'{"title": NaN}',
    "infinity": b'{"title": 1e999}',
    "a lone surrogate": b'{"title": "\\ud800"}',
    "nesting": b"[" * 20_000,
    "cut short": b'{"title": "' + CANARY.encode(),
    "no UTF-8": b'{"title": "\xff' + CANARY.encode() + b'"}',
    "another type": b'{"title": ["' + CANARY.encode() + b'"]}',
    "an unknown member": b'{"title": "x", "' + CANARY.encode() + b'": "' + CANARY.encode() + b'"}',
    "no object": b'"' + CANARY.encode() + b'"',
    "nothing": b"null",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_an_odd_body_is_not_echoed(as_caller: AsCaller, body: bytes) -> None:
    answer = as_caller().post("/things", content=body, headers=JSON)

    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() >= {"type", "title", "status", "detail", "instance"}
    assert CANARY not in answer.text
