"""Requests of another shape, from elsewhere, too large or too slow are refused before anything looks at them."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import pytest
from fastapi import FastAPI, Query, Request
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.admission.request_guard import accepts, deadline, internal
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask, nothing_more
from tests.security.sample_resource import app_of_things, client_of_things  # noqa: F401
from tests.security.timing import at_once

JSON = {"Content-Type": "application/json"}


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


def test_a_foreign_host_is_refused(client: TestClient) -> None:
    for host in ("evil.example.com", "localhost.evil.com", "", "localhost:8000@evil.com", "LOCALHOST/"):
        assert client.get("/things", headers={"Host": host}).status_code == 400, host


@pytest.mark.slow
def test_the_own_host_is_served_at_any_port(client: TestClient) -> None:
    for host in ("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:1", "[::1]:8000"):
        assert client.get("/things", headers={"Host": host}).status_code == 401, host


def test_a_header_that_may_stand_once_stands_once(client: TestClient) -> None:
    for name in ("Host", "Authorization", "X-API-Key", "Content-Type", "Origin", "Content-Length", "X-Forwarded-Proto"):
        headers = [("Host", "localhost"), (name, "1"), (name, "1")]

        assert client.get("/things", headers=headers).status_code == 400, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Request-ID"])
def test_a_forwarding_header_may_not_be_repeated_in_a_trailer(client: TestClient, name: str) -> None:
    headers = [("Host", "localhost"), (name, "203.0.113.9"), (name, "203.0.113.9")]

    assert client.get("/things", headers=headers).status_code == 401
    assert client.get("/things", headers=[*headers, ("Transfer-Encoding", "chunked")]).status_code == 400


def test_a_body_has_one_length(client: TestClient) -> None:
    headers = {"Content-Length": "2", "Transfer-Encoding": "chunked", **JSON}

    assert client.post("/things", content=b"{}", headers=headers).status_code == 400


def test_what_is_too_large_is_refused(as_caller: AsCaller) -> None:
    caller = as_caller()

    assert caller.get("/things", headers={"X-Long": "x" * 17_000}).status_code == 431
    assert caller.get("/things?" + "x" * 5000).status_code == 414
    assert caller.post("/things", content=b" " * (1024 * 1024 + 1), headers=JSON).status_code == 413
    assert caller.post("/things", content=chunks(2 * 1024 * 1024), headers=JSON).status_code == 413


def test_a_body_of_another_media_type_is_refused(as_caller: AsCaller) -> None:
    caller = as_caller()

    for media_type in ("text/plain", "text/json", "application/x-www-form-urlencoded", "application/xml", ""):
        for sent in (media_type, f"{media_type}; a=b"):
            answer = caller.post("/things", content=b'{"title": "x"}', headers={"Content-Type": sent})
            assert answer.status_code == 415, sent
    assert caller.get("/things").json() == 0


@pytest.mark.slow
def test_a_method_that_no_route_declares_is_refused(as_caller: AsCaller) -> None:
    caller = as_caller()

    for method in ("PUT", "TRACE", "CONNECT", "PROPFIND", "DELETE", "OPTIONS"):
        answer = caller.request(method, "/health/live")
        assert (answer.status_code, answer.headers.get("allow")) == (405, "GET, HEAD"), method


def test_production_wants_https_and_never_redirects(make_client: MakeClient) -> None:
    client = make_client(build=app_of_things, production=True)
    plain = "http://api.example.com"

    answer = client.get(f"{plain}/things", follow_redirects=False)

    assert (answer.status_code, answer.json()["type"]) == (403, "https-required")
    assert "location" not in answer.headers
    assert client.get(f"{plain}/health/live").status_code == 200
    assert client.get("/things").status_code == 401


def test_in_development_only_this_machine_is_served(client: TestClient, make_client: MakeClient) -> None:
    for address in ("192.168.1.7", "10.0.0.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"):
        stranger = make_client(client.app, address=address)  # type: ignore[arg-type]

        assert stranger.get("/health/live").status_code == 403, address
        assert stranger.get("/docs").status_code == 403, address


def add_routes(app: FastAPI) -> None:
    """Routes that need more than others, and one for a scraper."""

    @app.post("/upload", dependencies=[public, accepts("text/csv", max_bytes=2 * 1024 * 1024)])
    async def upload(request: Request) -> int:
        return len(await request.body())

    @app.post("/strict", dependencies=[public])
    async def strict(body: dict[str, int]) -> None: ...

    @app.get("/slow", dependencies=[public])
    async def slow() -> None:
        await asyncio.sleep(1)

    @app.get("/patient", dependencies=[public, deadline(None)])
    async def patient() -> None:
        await asyncio.sleep(0.6)

    @app.get("/metrics", dependencies=[public, internal])
    async def metrics() -> None: ...

    @app.get("/search", dependencies=[public])
    async def search(text: str, tags: Annotated[list[str], Query()]) -> None: ...


@pytest.fixture
def uploads(make_client: MakeClient) -> TestClient:
    limits = {"RESPONSE_SECONDS": "0.3", "BODY_SECONDS": "0.1", "MAX_IN_FLIGHT": "8"}
    limits |= {"MAX_IN_FLIGHT_OF_ONE_SOURCE": "4", "DEVELOPMENT_NETWORKS": "203.0.113.0/24"}
    return make_client(build=lambda: assemble(add_routes), **limits)


def test_a_route_may_take_other_and_larger_bodies(uploads: TestClient) -> None:
    csv = {"Content-Type": "text/csv"}

    assert uploads.post("/upload", content=b" " * 1_500_000, headers=csv).text == "1500000"
    assert uploads.post("/upload", content=chunks(1_500_000), headers=csv).status_code == 200
    assert uploads.post("/upload", content=chunks(3_000_000), headers=csv).status_code == 413
    assert uploads.post("/upload", content=b"{}", headers=JSON).status_code == 415


@pytest.mark.slow
def test_a_response_after_the_deadline_is_a_504(uploads: TestClient) -> None:
    assert uploads.get("/slow").status_code == 504
    assert uploads.get("/patient").status_code == 200


def answers_at_once(clients: list[TestClient]) -> list[int]:
    """Of slow requests of these clients, sorted. The liveness responds whatever is in progress."""
    slow = [lambda one=client: one.get("/patient").status_code for client in clients]  # type: ignore[misc]
    *answers, liveness = at_once([*slow, lambda: clients[0].get("/health/live").status_code])
    assert liveness == 200
    return sorted(answers)


def test_one_source_has_its_share_and_all_together_what_there_is(uploads: TestClient, make_client: MakeClient) -> None:
    others = [make_client(uploads.app, address=f"203.0.113.{number}") for number in (1, 2)]  # type: ignore[arg-type]

    assert answers_at_once([uploads] * 6) == [200] * 4 + [429] * 2
    assert answers_at_once([uploads, *others] * 4) == [200] * 8 + [503] * 4
    assert uploads.get("/patient").status_code == 200


def test_a_body_that_arrives_too_slowly_is_given_up(uploads: TestClient) -> None:
    half = {"content_type": "application/json", "content_length": "9"}

    assert uploads.portal is not None
    assert uploads.portal.call(partial(ask, **half), uploads, "/strict", nothing_more) == 408


def test_an_internal_route_is_for_its_networks_alone(uploads: TestClient, make_client: MakeClient) -> None:
    stranger = make_client(uploads.app, address="203.0.113.1")  # type: ignore[arg-type]

    assert uploads.get("/metrics").status_code == 200
    assert stranger.get("/patient").status_code == 200
    assert stranger.get("/metrics").status_code == 403


def test_a_query_parameter_that_takes_one_value_is_not_repeated(uploads: TestClient) -> None:
    assert uploads.get("/search?text=a&tags=b&tags=c").status_code == 200
    assert uploads.get("/search?text=a&text=b&tags=c").status_code == 422
