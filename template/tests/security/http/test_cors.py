"""Which web pages may call: the named origins, for every answer, and no page beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public, require_scope
from app.security.core import settings
from app.security.core.problems import Problem
from app.security.core.settings import problems
from app.security.http.cors import EXPOSED_HEADERS, ORIGINS, CorsSettings
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

ALLOWED, ANOTHER = "https://app.example.com", "https://shop.example.com:8443"
STRANGERS = [
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


def ask_first(client: TestClient, origin: str, method: str = "GET", headers: str = "authorization") -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    return client.options("/mine", headers=asked)


@pytest.mark.parametrize("origin", [ALLOWED, ANOTHER])
def test_an_allowed_page_may_ask_and_read(client: TestClient, origin: str) -> None:
    first, answer = ask_first(client, origin), client.get("/mine", headers={"Origin": origin})

    assert (first.status_code, first.content) == (204, b"")
    assert first.headers["access-control-allow-origin"] == origin
    assert first.headers["access-control-max-age"] == "600"
    assert first.headers["access-control-allow-headers"] == "Authorization, Content-Type, X-API-Key, X-Request-ID"
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED_HEADERS)


@pytest.mark.parametrize("origin", STRANGERS)
def test_no_other_page_may_ask_or_read(client: TestClient, origin: str) -> None:
    first, answer = ask_first(client, origin), client.get("/mine", headers={"Origin": origin})

    assert first.status_code == 400
    assert "access-control-allow-origin" not in first.headers
    assert "access-control-allow-origin" not in answer.headers
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


@pytest.mark.parametrize("status", ANSWERS)
def test_an_allowed_page_reads_every_refusal(client: TestClient, status: int) -> None:
    method, path, how = ANSWERS[status]

    answer = client.request(method, path, **{**how, "headers": {**how.get("headers", {}), "Origin": ALLOWED}})

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_allowed_page_reads_when_to_try_again(client: TestClient) -> None:
    answer = client.get("/later", headers={"Origin": ALLOWED})

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("header", ["X-Evil", "Cookie", "X-Forwarded-For", "authorization, x-evil"])
def test_no_other_header_may_be_sent(client: TestClient, header: str) -> None:
    answer = ask_first(client, ALLOWED, headers=header)

    assert answer.status_code == 400
    assert "evil" not in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PURGE"])
def test_no_method_that_no_route_has_may_be_used(client: TestClient, method: str) -> None:
    assert ask_first(client, ALLOWED, method=method).status_code == 400


def test_asking_first_uses_up_nothing_of_what_an_address_may_ask(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_routes), CORS_ORIGINS=ALLOWED, RATE_LIMIT="1/minute")

    assert {ask_first(client, ALLOWED).status_code for _ in range(30)} == {204}
    assert client.get("/mine", headers={"Origin": ALLOWED}).status_code == 401


def test_credentials_in_cookies_are_never_allowed(client: TestClient) -> None:
    answers = [ask_first(client, ALLOWED), client.get("/mine", headers={"Origin": ALLOWED})]

    assert [answer for answer in answers if "access-control-allow-credentials" in answer.headers] == []


@pytest.mark.parametrize("headers", [{}, {"Origin": ALLOWED}, {"Origin": "https://evil.example"}])
def test_every_answer_says_that_it_depends_on_the_origin(client: TestClient, headers: dict[str, str]) -> None:
    assert "Origin" in client.get("/mine", headers=headers).headers["vary"]


def test_a_refused_page_is_one_event_a_minute(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    for origin in ["https://evil.example"] * 3 + ["https://other.example", "\x1b[31m", "é"]:
        client.get("/mine", headers={"Origin": origin.encode("latin-1")})

    found = [event["subject"] for event in recorded if event["event"] == "malicious_cors"]
    assert found == ["https://evil.example", "https://other.example", "invalid"]


def test_a_flood_of_made_up_origins_is_twenty_events(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    for number in range(60):
        client.get("/mine", headers={"Origin": f"https://o{number}.evil.example"})

    assert len([event for event in recorded if event["event"] == "malicious_cors"]) == 20


def test_development_adds_local_front_ends_and_production_does_not(make_client: MakeClient) -> None:
    local = {"Origin": "http://localhost:5173"}
    development = make_client(CORS_ORIGINS=ALLOWED).get("/mine", headers=local).headers
    production = make_client(CORS_ORIGINS=ALLOWED, production=True).get("/mine", headers=local).headers

    assert development["access-control-allow-origin"] == "http://localhost:5173"
    assert "access-control-allow-origin" not in production


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", ".*", "app.example.com", "http://app.example.com", "ftp://app.example.com"),
        *("https://app.example.com/", "https://app.example.com?x", "https://user@app.example.com"),
        *("https://*.example.com", "https://APP.example.com"),
        *("https://shop.example.com:0", "https://shop.example.com:99999", "https://shop.example.com:"),
        *("https://a..b", "https://-", "https://.example.com", "https://shop-.example.com"),
    ],
)
def test_what_is_no_origin_stops_the_start(environment: Callable[..., None], origin: str) -> None:
    environment(FASTAPI_ENV="production", CORS_ORIGINS=f"{ALLOWED}, {origin}")

    found = [problem for problem in problems() if problem.startswith("CORS_ORIGINS: ")]

    assert len(found) == 1
    assert origin not in found[0].replace("https://app.example.com:", "")


def test_an_empty_variable_closes_what_was_answered(make_client: MakeClient) -> None:
    client = make_client(production=True, CORS_ORIGINS="")

    for origin in ORIGINS:
        assert "access-control-allow-origin" not in ask_first(client, origin).headers


def test_an_empty_line_of_the_env_file_closes_what_was_answered(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("CORS_ORIGINS=\n")
    monkeypatch.setattr(settings, "env_file", tmp_path / ".env")

    environment(FASTAPI_ENV="production")

    assert CorsSettings.current().allowed() == []


def test_the_answered_origins_are_the_ones_of_production(make_client: MakeClient) -> None:
    client = make_client(production=True)

    for origin in ORIGINS:
        assert ask_first(client, origin).headers["access-control-allow-origin"] == origin
