"""CORS: the named origins may call, and read every refusal; no other page may."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public, require_scope
from app.security.core.problems import Problem
from app.security.core.settings import problems
from app.security.http.cors import EXPOSED_HEADERS, ORIGINS, REQUEST_HEADERS
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

ALLOWED, ANOTHER = "https://app.example.com", "https://shop.example.com:8443"

OTHER_ORIGINS = [
    "null",
    "*",
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://app.example.com:444",
    "https://app.example.com/",
    "https://APP.example.com",
    "https://example.com",
    "",
]


def add_routes(app: FastAPI) -> None:
    @app.get("/mine", dependencies=[require_scope("mine:read")])
    async def mine() -> None: ...

    @app.get("/later", dependencies=[public])
    async def later() -> None:
        raise Problem(429, headers={"Retry-After": "7"})

    @app.get("/failing", dependencies=[public])
    async def failing() -> None:
        raise RuntimeError

    @app.post("/open", dependencies=[public])
    async def open_to_all(body: dict[str, int]) -> None: ...


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(
        build=lambda: assemble(add_routes), production=True, CORS_ORIGINS=f"{ALLOWED}, {ANOTHER}", MAX_BODY_BYTES="1024"
    )


def preflight(client: TestClient, origin: str, method: str = "GET", headers: str = "authorization") -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    return client.options("/mine", headers=asked)


def test_an_allowed_page_may_call(client: TestClient) -> None:
    for origin in (ALLOWED, ANOTHER):
        first, answer = preflight(client, origin), client.get("/mine", headers={"Origin": origin})

        assert (first.status_code, first.content) == (204, b"")
        assert first.headers["access-control-allow-origin"] == origin
        assert first.headers["access-control-max-age"] == "600"
        assert first.headers["access-control-allow-headers"] == ", ".join(REQUEST_HEADERS)
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED_HEADERS)


def test_no_other_page_may_call(client: TestClient) -> None:
    for origin in OTHER_ORIGINS:
        first, answer = preflight(client, origin), client.get("/mine", headers={"Origin": origin})

        assert first.status_code == 400, origin
        assert "access-control-allow-origin" not in first.headers
        assert "access-control-allow-origin" not in answer.headers, origin
        assert origin == "" or origin not in str(first.headers) + first.text


ANSWERS: dict[int, tuple[str, str, dict[str, Any]]] = {
    400: ("GET", "/mine", {"headers": {"Host": "evil.example"}}),
    401: ("GET", "/mine", {}),
    404: ("GET", "/nowhere", {}),
    405: ("DELETE", "/mine", {}),
    413: ("POST", "/open", {"json": {"x" * 2000: 1}}),
    415: ("POST", "/open", {"content": b"x"}),
    422: ("POST", "/open", {"json": {"a": "b"}}),
    500: ("GET", "/failing", {}),
}


@pytest.mark.slow
def test_an_allowed_page_reads_every_refusal(client: TestClient) -> None:
    for status, (method, path, how) in ANSWERS.items():
        answer = client.request(method, path, **{**how, "headers": {**how.get("headers", {}), "Origin": ALLOWED}})

        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED, status
        assert answer.headers["x-content-type-options"] == "nosniff", status


def test_credentials_in_cookies_are_never_allowed(client: TestClient) -> None:
    answers = [preflight(client, ALLOWED), client.get("/mine", headers={"Origin": ALLOWED})]

    assert [answer for answer in answers if "access-control-allow-credentials" in answer.headers] == []


@pytest.mark.slow
def test_development_adds_local_front_ends_and_production_does_not(make_client: MakeClient) -> None:
    local = {"Origin": "http://localhost:5173"}
    development = make_client(CORS_ORIGINS=ALLOWED).get("/mine", headers=local).headers
    production = make_client(CORS_ORIGINS=ALLOWED, production=True).get("/mine", headers=local).headers

    assert development["access-control-allow-origin"] == "http://localhost:5173"
    assert "access-control-allow-origin" not in production


INVALID = [
    *("*", "null", ".*", "app.example.com", "http://app.example.com", "ftp://app.example.com"),
    *("https://app.example.com/", "https://app.example.com?x", "https://user@app.example.com"),
    *("https://*.example.com", "https://APP.example.com"),
    *("https://shop.example.com:0", "https://shop.example.com:99999", "https://shop.example.com:"),
    *("https://a..b", "https://-", "https://.example.com", "https://shop-.example.com"),
]


def test_an_invalid_origin_fails_the_start(environment: Callable[..., None]) -> None:
    for origin in INVALID:
        environment(FASTAPI_ENV="production", CORS_ORIGINS=f"{ALLOWED}, {origin}")

        found = [problem for problem in problems() if problem.startswith("CORS_ORIGINS: ")]

        assert len(found) == 1, origin
        assert origin not in found[0].replace("https://app.example.com:", "")


@pytest.mark.slow
def test_an_empty_variable_allows_no_page(make_client: MakeClient) -> None:
    client = make_client(production=True, CORS_ORIGINS="")

    for origin in ORIGINS:
        assert "access-control-allow-origin" not in preflight(client, origin).headers


def test_the_answered_origins_are_the_ones_of_production(make_client: MakeClient) -> None:
    client = make_client(production=True)

    for origin in ORIGINS:
        assert preflight(client, origin).headers["access-control-allow-origin"] == origin
