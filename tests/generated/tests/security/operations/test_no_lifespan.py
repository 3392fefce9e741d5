"""No audit row is lost: production refuses requests without lifespan events, and ends after what waits is written."""

import asyncio
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

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


@pytest.mark.anyio
async def test_what_waits_is_written_before_the_server_may_end(environment: Callable[..., None]) -> None:
    """A server ends with the last message of a lifespan, and cancels what still runs."""
    environment()
    app, order = assemble(), list[str]()

    async def slow(ended: FastAPI) -> None:
        await asyncio.sleep(0.01)
        order.append("hook")

    app.state.hooks.at_end.append(slow)
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(events)

    async def send(message: Message) -> None:
        order.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    assert order == ["lifespan.startup.complete", "hook", "lifespan.shutdown.complete"]


def test_a_hook_that_fails_at_the_end_skips_none_of_the_others(environment: Callable[..., None]) -> None:
    """Such as a Redis that does not respond while it is closed: the audit log still writes what waits."""
    environment()
    ended: list[str] = []
    app = assemble()

    async def end(app: FastAPI) -> None:
        ended.append("ended")

    async def fail(app: FastAPI) -> None:
        raise TimeoutError

    app.state.hooks.at_end += [end, fail]  # the last one runs first
    with TestClient(app):
        pass

    assert ended == ["ended"]
