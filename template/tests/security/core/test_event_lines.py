"""Security events: each is written once, with its fields."""

from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.access.identity import public
from app.security.core.events import Event
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.every_route import NO_ID
from tests.security.fixtures import Database, MakeClient
from tests.security.sample_resource import add_things

Recorded = list[dict[str, Any]]


def add_routes(app: FastAPI) -> None:
    add_things(app)

    @app.get("/failing", dependencies=[public])
    async def failing() -> None:
        raise RuntimeError("the recipe is in the cellar")


@pytest.fixture(name="client")
def client_of_these_routes(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes), AUTH_CACHE_SECONDS="0")


@pytest.mark.slow
def test_an_invalid_request_is_an_event(client: TestClient, as_caller: AsCaller, recorded: Recorded) -> None:
    caller = as_caller()
    caller.get("/things")
    recorded.clear()

    caller.post("/things", json={})

    assert [fields["event"] for fields in recorded] == [Event.INPUT_VALIDATION_FAIL, Event.REQUEST]


@pytest.mark.slow
def test_repeated_refusals_are_one_event_a_minute_with_their_number(
    as_caller: AsCaller, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = as_caller(scope="things:read")

    def refused() -> list[str]:
        return [fields["reason"] for fields in recorded if fields["event"] == Event.AUTHZ_FAIL]

    for _ in range(5):
        caller.post("/things", json={"title": "x"})
    assert refused() == ["insufficient_scope"]

    caller.delete(f"/things/{NO_ID}")
    assert len(refused()) == 2

    monkeypatch.setattr("app.security.core.events.EVERY_SECONDS", 0)
    caller.post("/things", json={"title": "x"})
    assert refused()[-1] == "insufficient_scope, 4 suppressed"


def test_the_access_event_holds_the_route_and_never_the_path(
    client: TestClient, as_caller: AsCaller, recorded: Recorded
) -> None:
    caller = as_caller()
    caller.get("/things")
    recorded.clear()

    answers = [caller.delete(f"/things/{NO_ID}"), caller.get("/nowhere/my-secret")]

    assert [(fields["method"], fields["route"], fields["status"]) for fields in recorded] == [
        ("DELETE", "/things/{thing_id}", 404),
        ("GET", None, 404),
    ]
    assert [fields["request_id"] for fields in recorded] == [answer.headers["x-request-id"] for answer in answers]


@pytest.mark.slow
def test_a_change_that_is_rolled_back_is_no_event(client: TestClient, recorded: Recorded) -> None:
    recorded.clear()

    async def fail(db: AsyncSession) -> None:
        await accounts.create(db, "bob", kind="service")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Database(client).run(fail)

    assert recorded == []


GIVEN = "0a1b2c3d-4e5f"


@pytest.mark.slow
def test_the_callers_name_of_a_request_is_in_its_security_events(
    client: TestClient, as_caller: AsCaller, recorded: Recorded
) -> None:
    caller = as_caller(scope="things:read")
    recorded.clear()

    caller.post("/things", json={"title": "x"}, headers={"X-Request-ID": GIVEN})

    refused = next(fields for fields in recorded if fields["event"] == Event.AUTHZ_FAIL)
    assert refused["client_request_id"] == GIVEN
    assert refused["actor"] == str(caller.id)
    assert refused["client_ip"] == caller.address
    assert refused["user_agent"] == "testclient"
