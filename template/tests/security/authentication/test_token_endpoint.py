"""`POST /auth/token` speaks RFC 6749, whatever is sent to it, so that standard OAuth 2 clients work unchanged."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.persons import PASSWORD, create_person

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LOG_IN = f"grant_type=password&username=alice@example.com&password={PASSWORD.replace(' ', '+')}"


def post(client: TestClient, body: str | bytes, **headers: str) -> Any:
    return client.post("/auth/token", content=body, headers=FORM | headers)


@pytest.mark.slow
def test_another_media_type_is_refused_before_anything_is_read(client: TestClient) -> None:
    create_person(client, "alice@example.com")
    assert post(client, LOG_IN).status_code == 200

    for media_type in (
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form",
        "",
    ):
        assert post(client, LOG_IN, **{"Content-Type": media_type}).status_code == 415


def test_credentials_in_the_address_are_not_read(client: TestClient) -> None:
    create_person(client, "alice@example.com")
    query = {"grant_type": "password", "username": "alice@example.com", "password": PASSWORD}

    assert client.post("/auth/token", params=query).json()["error"] == "invalid_request"
    assert client.get("/auth/token", params=query).status_code == 405
