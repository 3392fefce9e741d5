"""Health routes: two responses for machines, without any detail."""

from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


def test_both_respond_with_one_word(client: TestClient) -> None:
    for path in ("/health/live", "/health/ready"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.slow
def test_both_respond_to_any_host_and_without_https(make_client: MakeClient) -> None:
    client = make_client(production=True)

    for path in ("/health/live", "/health/ready"):
        assert client.get(f"http://10.1.2.3:8000{path}").status_code == 200


def test_without_its_database_the_service_is_alive_and_not_ready(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(client.app.state.database, "_single_statements", type("Gone", (), {"connect": lost})())  # type: ignore[attr-defined]

    assert client.get("/health/live").status_code == 200
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["detail"]) == (503, "Not ready.")


@pytest.mark.slow
def test_no_route_of_the_template_shows_details(make_client: MakeClient) -> None:
    client = make_client(build=assemble)

    for path in ("/metrics", "/debug", "/status", "/health", "/version"):
        assert client.get(path).status_code == 404, path
