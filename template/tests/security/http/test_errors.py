"""Error responses are problem documents that leak no internals and echo nothing of the request."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.compose import fastapi_options, secure
from app.security.core.events import Event
from tests.security.callers import AsCaller
from tests.security.http.test_headers import EXPECTED
from tests.security.sample_resource import client_of_things  # noqa: F401

CANARY = "canary-7f3a"

JSON = {"Content-Type": "application/json"}


async def raises() -> None:
    raise RuntimeError(CANARY)


async def server_error() -> None:
    raise HTTPException(500, detail=CANARY)


async def database(sqlstate: str) -> None:
    error = Exception(CANARY)
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    raise DBAPIError("SELECT 1", None, error)


ROUTES = {"/raises": raises, "/server-error": server_error, "/database/{sqlstate}": database}


@pytest.fixture
def failing(environment: Callable[..., None]) -> Iterator[TestClient]:
    """An app with routes that fail in several ways."""
    environment()
    app = FastAPI(**fastapi_options())
    for path, endpoint in ROUTES.items():
        app.get(path, dependencies=[public])(endpoint)
    secure(app)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def test_an_unexpected_error_leaks_nothing_and_is_logged(
    failing: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = failing.get("/raises")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    assert CANARY in capsys.readouterr().out


@pytest.mark.slow
def test_the_detail_of_a_server_error_is_not_sent(failing: TestClient) -> None:
    answer = failing.get("/server-error")

    assert answer.status_code == 500
    assert CANARY not in answer.text


STATES = {"08006": 503, "40001": 503, "57014": 504, "22021": 422, "23505": 409, "23P01": 409, "42703": 500}


def test_a_database_that_is_unavailable_is_no_crash(
    failing: TestClient, recorded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for sqlstate, status in STATES.items():
        recorded.clear()
        answer = failing.get(f"/database/{sqlstate}")

        assert answer.status_code == status
        assert ("retry-after" in answer.headers) == (status == 503)
        assert (Event.CRASH in [fields["event"] for fields in recorded]) == (status == 500)
        logged = capsys.readouterr().out
        assert (f"{sqlstate}, request" in logged) == (status > 500)
        assert (CANARY in logged) == (status == 500)


BODIES = {
    "NaN": b'{"title": NaN}',
    "cut short": b'{"title": "' + CANARY.encode(),
    "another type": b'{"title": ["' + CANARY.encode() + b'"]}',
    "an unknown member": b'{"title": "x", "' + CANARY.encode() + b'": "' + CANARY.encode() + b'"}',
}


def test_an_invalid_body_is_not_echoed(as_caller: AsCaller) -> None:
    caller = as_caller()

    for kind, body in BODIES.items():
        answer = caller.post("/things", content=body, headers=JSON)

        assert answer.status_code in (400, 422), kind
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json().keys() >= {"type", "title", "status", "detail", "instance"}
        assert CANARY not in answer.text, kind


@pytest.mark.slow
def test_an_invalid_id_is_not_echoed(as_caller: AsCaller) -> None:
    answer = as_caller().delete(f"/things/{CANARY}")

    assert answer.status_code == 422
    assert CANARY not in answer.text


def test_the_instance_of_a_problem_is_its_request_id(client: TestClient) -> None:
    answer = client.get("/nothing")

    assert answer.json()["instance"] == f"urn:request:{answer.headers['x-request-id']}"
