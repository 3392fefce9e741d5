"""`on_response` is called after every response, with few different texts whatever clients send."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.http import request_log
from app.security.http.request_log import Responded, on_response
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


def add_routes(app: FastAPI) -> None:
    @app.get("/things/{thing}", dependencies=[public])
    async def thing(thing: int) -> None: ...

    @app.get("/later", dependencies=[public])
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(asyncio.sleep, 0.5)

    @app.get("/failing", dependencies=[public])
    async def failing() -> None:
        raise RuntimeError


@pytest.fixture
def seen() -> Iterator[list[Responded]]:
    found: list[Responded] = []

    @on_response
    def keep(response: Responded) -> None:
        found.append(response)

    on_response(keep)  # once more: it is called once
    yield found
    request_log._observers.remove(keep)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes), production=True, MAX_URL_BYTES="300")


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/things/7", {}, ("GET", "/things/{thing}", 200, "")),
        ("GET", "/failing", {}, ("GET", "/failing", 500, "")),
        ("GET", "/nowhere/17", {}, ("GET", "", 404, "")),
        ("PURGE", "/things/7", {}, ("OTHER", "", 405, "")),
        ("X" * 50, "/nowhere", {}, ("OTHER", "", 404, "")),
        ("GET", "/things/7", {"Host": "evil.example"}, ("GET", "/things/{thing}", 400, "request_guard")),
        ("GET", f"/{'a' * 400}", {}, ("GET", "", 414, "request_guard")),
        ("POST", "/things/7", {"Content-Length": "x"}, ("POST", "", 400, "request_guard")),
    ],
)
def test_every_response_is_seen(
    client: TestClient,
    seen: list[Responded],
    method: str,
    path: str,
    headers: dict[str, str],
    expected: tuple[str, str, int, str],
) -> None:
    client.request(method, path, headers=headers)

    assert [(one.method, one.route, one.status, one.reason) for one in seen] == [expected]
    assert 0 < seen[0].seconds < 5


def test_what_runs_after_a_response_adds_nothing_to_its_time(client: TestClient, seen: list[Responded]) -> None:
    client.get("/later")

    assert 0 < seen[0].seconds < 0.4


def test_a_preflight_is_seen(make_client: MakeClient, seen: list[Responded]) -> None:
    make_client().options("/notes", headers={"Origin": "https://x.example", "Access-Control-Request-Method": "GET"})

    assert [one.status for one in seen] in ([400], [405])  # without CORS it is a method that no route has


def test_a_function_that_fails_spares_the_response_and_the_others(
    client: TestClient, seen: list[Responded], caplog: pytest.LogCaptureFixture
) -> None:
    @on_response
    def fail(response: Responded) -> None:
        raise RuntimeError

    request_log._observers.reverse()
    try:
        assert client.get("/things/7").status_code == 200
    finally:
        request_log._observers.remove(fail)

    assert len(seen) == 1
    assert "fail failed" in caplog.text
