"""CORS preflights and origins that browsers rarely send."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

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

    assert CorsSettings.current().allowed() == []


def test_a_long_origin_is_recorded_as_invalid(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    client.get("/mine", headers={"Origin": f"https://{'a.' * 5000}example"})

    assert [event["subject"] for event in recorded if event["event"] == "malicious_cors"] == ["invalid"]
