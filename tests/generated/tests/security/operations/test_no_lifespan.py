"""Where no lifespan event arrives, audit rows would be lost: production refuses every request."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.security.build_app import assemble
from tests.security.fixtures import PRODUCTION_ENVIRONMENT

HEALTH = "/health/live"


def status(app: FastAPI, path: str = HEALTH) -> int:
    client = TestClient(app, base_url="https://api.example.com", raise_server_exceptions=False)
    return client.get(path).status_code


def test_production_refuses_requests_before_the_start_up_has_run(
    environment: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    app = assemble()

    refused = status(app)
    with TestClient(app):
        served = status(app)

    assert (refused, served) == (503, 200)
    assert [record.levelname for record in caplog.records if "--lifespan off" in record.getMessage()] == ["CRITICAL"]


def test_so_does_an_app_that_is_mounted_below_another(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    parent = FastAPI()
    parent.mount("/service", assemble())

    with TestClient(parent):
        assert status(parent, f"/service{HEALTH}") == 503


def test_development_serves(environment: Callable[..., None]) -> None:
    environment()

    assert TestClient(assemble(), base_url="http://localhost").get(HEALTH).status_code == 200
