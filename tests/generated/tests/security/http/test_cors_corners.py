"""CORS preflights and origins that browsers rarely send."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header
from pydantic import BaseModel
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.core import settings
from app.security.http.cors import CorsSettings
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.http.test_cors import (
    add_routes,
    client,  # noqa: F401
    preflight,
)

ALLOWED, ANOTHER = "https://app.example.com", "https://shop.example.com:8443"


class Look(BaseModel):
    x_color: str = ""
    x_size: int = 0


def add_readers(app: FastAPI) -> None:
    @app.get("/mine", dependencies=[public])
    async def mine(x_tenant: Annotated[str, Header()], look: Annotated[Look, Header()]) -> None: ...


def test_an_allowed_page_reads_when_to_try_again(client: TestClient) -> None:
    answer = client.get("/later", headers={"Origin": ALLOWED})

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("header", ["X-Evil", "Cookie", "X-Forwarded-For", "authorization, x-evil"])
def test_no_other_header_may_be_sent(client: TestClient, header: str) -> None:
    answer = preflight(client, ALLOWED, headers=header)

    assert answer.status_code == 400
    assert "evil" not in answer.headers["access-control-allow-headers"].lower()
    assert answer.json()["detail"] == f"No page may send the header {header.lower().split()[-1]} (CORS_ALLOW_HEADERS)."


@pytest.mark.parametrize("origin", [ALLOWED, "https://evil.example"])
def test_a_preflight_that_asks_for_very_many_headers_is_refused_before_they_are_compared(
    client: TestClient, origin: str
) -> None:
    answer = preflight(client, origin, headers="a," * 3000)

    assert (answer.status_code, answer.headers["content-type"]) == (431, "application/problem+json")


def test_a_refused_origin_is_no_question_of_headers(client: TestClient) -> None:
    answer = preflight(client, "https://evil.example", headers="x-evil")

    assert answer.json()["detail"] == "No page of this origin may send such a request."
    assert "evil" not in answer.text


@pytest.mark.parametrize("header", ["traceparent", "tracestate, baggage", "x-tenant", "x-color, x-size", "x-set"])
def test_a_page_may_send_headers_that_routes_read_traces_and_what_the_setting_names(
    make_client: MakeClient, header: str
) -> None:
    client = make_client(
        build=lambda: assemble(add_readers), production=True, CORS_ORIGINS=ALLOWED, CORS_ALLOW_HEADERS="X-Set"
    )

    assert preflight(client, ALLOWED, headers=header).status_code == 204


def test_a_page_may_read_the_response_headers_that_the_setting_names(make_client: MakeClient) -> None:
    client = make_client(production=True, CORS_ORIGINS=ALLOWED, CORS_EXPOSE_HEADERS="X-Total-Count, Link")

    exposed = client.get("/health/live", headers={"Origin": ALLOWED}).headers["access-control-expose-headers"]

    assert {"X-Total-Count", "Link", "Retry-After"} <= set(exposed.split(", "))


@pytest.mark.parametrize("value", ["*", "X-Evil: 1", "X_Tenant", "X Tenant"])
def test_an_invalid_header_fails_the_start(environment: Callable[..., None], value: str) -> None:
    environment(FASTAPI_ENV="production", CORS_ALLOW_HEADERS=value)

    found = [problem for problem in settings.problems() if problem.startswith("CORS_ALLOW_HEADERS: ")]

    assert len(found) == 1


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PURGE"])
def test_no_method_that_no_route_has_may_be_used(client: TestClient, method: str) -> None:
    assert preflight(client, ALLOWED, method=method).status_code == 400


def test_asking_first_uses_up_nothing_of_what_an_address_may_ask(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_routes), CORS_ORIGINS=ALLOWED, RATE_LIMIT="1/minute")

    assert {preflight(client, ALLOWED).status_code for _ in range(30)} == {204}
    assert client.get("/mine", headers={"Origin": ALLOWED}).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Origin": ALLOWED}, {"Origin": "https://evil.example"}])
def test_every_response_varies_by_origin(client: TestClient, headers: dict[str, str]) -> None:
    assert "Origin" in client.get("/mine", headers=headers).headers["vary"]


def test_a_flood_of_made_up_origins_is_twenty_events(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    for number in range(60):
        client.get("/mine", headers={"Origin": f"https://o{number}.evil.example"})

    assert len([event for event in recorded if event["event"] == "malicious_cors"]) == 20


def test_an_empty_line_of_the_env_file_allows_no_origin(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("CORS_ORIGINS=\n")
    monkeypatch.setattr(settings, "env_file", tmp_path / ".env")

    environment(FASTAPI_ENV="production")

    assert CorsSettings.current().cors_origins == []


def test_a_long_origin_is_recorded_as_invalid(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    client.get("/mine", headers={"Origin": f"https://{'a.' * 5000}example"})

    assert [event["subject"] for event in recorded if event["event"] == "malicious_cors"] == ["invalid"]


OWN = {"development": "http://localhost:8000", "production": "https://api.example.com"}


@pytest.mark.parametrize("where", OWN)
def test_a_page_of_the_service_itself_is_no_foreign_origin(
    make_client: MakeClient, recorded: list[dict[str, Any]], where: str
) -> None:
    """Browsers send Origin with each POST, such as a login from the API documents."""
    own = OWN[where]
    client = make_client(production=where == "production")

    response = client.get("/health/live", headers={"Origin": own, "Host": own.partition("://")[2]})
    client.get("/health/live", headers={"Origin": "https://evil.example", "Host": own.partition("://")[2]})

    assert response.status_code == 200
    found = [event["subject"] for event in recorded if event["event"] == "malicious_cors"]
    assert found == ["https://evil.example"]


def test_the_public_address_behind_a_proxy_is_no_foreign_origin(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(production=True, PUBLIC_BASE_URL="https://www.example.com/api")

    client.get("/health/live", headers={"Origin": "https://www.example.com"})

    assert [event for event in recorded if event["event"] == "malicious_cors"] == []


@pytest.mark.parametrize("header", ["WWW-Authenticate", "Location"])
def test_an_allowed_page_reads_which_login_helps_and_what_was_created(client: TestClient, header: str) -> None:
    exposed = client.get("/mine", headers={"Origin": ALLOWED}).headers["access-control-expose-headers"]

    assert header in exposed.split(", ")


def test_an_allowed_page_may_send_head(client: TestClient) -> None:
    assert preflight(client, ALLOWED, "HEAD").status_code == 204


@pytest.mark.parametrize("port", [1234, 3001, 4321, 5174, 8081])
def test_in_development_a_front_end_has_any_port_of_this_machine(make_client: MakeClient, port: int) -> None:
    development, production = make_client(), make_client(production=True)

    for origin in (f"http://localhost:{port}", f"http://127.0.0.1:{port}"):
        assert preflight(development, origin).headers.get("access-control-allow-origin") == origin
        assert "access-control-allow-origin" not in preflight(production, origin).headers
    assert "access-control-allow-origin" not in preflight(development, f"http://localhost:{port}.evil.example").headers


def test_a_refused_page_is_one_event_a_minute(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    for origin in ["https://evil.example"] * 3 + ["https://other.example", "\x1b[31m", "é"]:
        client.get("/mine", headers={"Origin": origin.encode("latin-1")})

    found = [event["subject"] for event in recorded if event["event"] == "malicious_cors"]
    assert found == ["https://evil.example", "https://other.example", "invalid"]
