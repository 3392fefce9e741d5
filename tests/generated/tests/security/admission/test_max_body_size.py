"""FastAPI's own `max_body_size`: what is too large is refused as everything else is, and is no crash."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.testclient import TestClient

from app.security.access.identity import public, require_scope
from app.security.admission.request_guard import accepts
from app.security.compose import fastapi_options, secure
from tests.security.fixtures import MakeClient
from tests.security.http.test_headers import EXPECTED

CSV = {"Content-Type": "text/csv"}
OPEN = [public, accepts("text/csv", max_bytes=4096)]


async def read(request: Request) -> int:
    return len(await request.body())


async def not_read() -> int:
    return 0


async def parsed(body: dict[str, int]) -> int:
    return len(body)


def app_with_limits() -> FastAPI:
    app, below = (FastAPI(**fastapi_options(), max_body_size=limit) for limit in (1000, 50))
    router = APIRouter(prefix="/router", max_body_size=100)
    app.post("/app", dependencies=OPEN)(read)
    app.post("/not-read", dependencies=OPEN)(not_read)
    app.post("/guarded", dependencies=[require_scope("things:write"), OPEN[1]])(parsed)
    app.post("/route", dependencies=OPEN, max_body_size=20)(read)
    app.post("/larger", dependencies=OPEN, max_body_size=2000)(read)
    app.post("/json", dependencies=[public, accepts(max_bytes=4096)])(parsed)
    router.post("/inside", dependencies=OPEN)(read)
    below.post("/inside", dependencies=OPEN)(read)
    app.include_router(router)
    app.mount("/below", below)
    secure(app)
    return app


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_limits)


LIMITS = {"/app": 1000, "/route": 20, "/larger": 2000, "/router/inside": 100, "/below/inside": 50}


@pytest.mark.parametrize(("path", "limit"), LIMITS.items())
def test_the_most_specific_limit_holds(client: TestClient, path: str, limit: int) -> None:
    assert client.post(path, content=b" " * limit, headers=CSV).json() == limit
    assert client.post(path, content=pieces(limit), headers=CSV).json() == limit
    assert client.post(path, content=b" " * (limit + 1), headers=CSV).status_code == 413
    assert client.post(path, content=pieces(limit + 1), headers=CSV).status_code == 413


def test_a_route_that_declares_a_size_alone_accepts_the_media_type_that_it_parses(client: TestClient) -> None:
    assert client.post("/json", json={"a": 1}).json() == 1
    assert client.post("/json", content=b"{}", headers=CSV).status_code == 415


@pytest.mark.parametrize("path", [*LIMITS, "/not-read", "/guarded", "/nowhere", "/below/nowhere"])
@pytest.mark.parametrize("announced", [True, False])
def test_a_refusal_is_a_problem_document_and_no_crash(
    client: TestClient, recorded: list[dict[str, Any]], path: str, announced: bool
) -> None:
    answer = client.post(path, content=b" " * 3000 if announced else pieces(3000), headers=CSV)

    if path in LIMITS:
        assert answer.json()["detail"] == f"Send at most {LIMITS[path]} bytes."
    if path in LIMITS or (announced and "nowhere" not in path):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert {event["event"] for event in recorded} == {"request"}


def test_nothing_of_a_strangers_body_is_read(client: TestClient) -> None:
    read: list[int] = []

    def body() -> Iterator[bytes]:
        read.append(1)
        yield b" "

    assert client.post("/guarded", content=body(), headers=CSV).status_code == 401
    assert read == []


def pieces(size: int) -> Iterator[bytes]:
    yield b" " * (size // 2)
    yield b" " * (size - size // 2)
