"""RATE_LIMIT leaves out a route that is exempt, and gives way to the limit that an owner's function gives a caller."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from app.security.access.identity import Caller, public, require_scope
from app.security.compose import fastapi_options, secure
from app.security.limits import caller_limits
from app.security.limits.caller_limits import LimitOf, exempt, limit_of_caller
from app.security.limits.route_limits import limiter
from tests.security.build_app import some_folder
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

BAD_KEY = {"X-API-Key": "not-a-key", "Authorization": "Bearer x.y.z"}


def build() -> FastAPI:
    app = FastAPI(**fastapi_options())

    @app.get("/counted", dependencies=[public])
    async def counted() -> None: ...

    @app.get("/exempt", dependencies=[public, exempt])
    async def uncounted() -> None: ...

    @app.get("/exempt-with-own", dependencies=[public, exempt])
    @limiter.limit("5/minute")
    async def own(request: Request) -> None: ...

    @app.get("/known", dependencies=[require_scope("known:read")])
    async def known(caller: Caller) -> None: ...

    @app.get("/known-exempt", dependencies=[require_scope("known:read"), exempt])
    async def known_exempt(caller: Caller) -> None: ...

    app.mount("/static", StaticFiles(directory=some_folder()))
    secure(app, guarded={"/static": [public, exempt]})
    return app


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=build, RATE_LIMIT="3/minute")


@pytest.fixture
def by_name() -> Iterator[None]:
    @limit_of_caller
    def plan(caller: Caller) -> str | None:
        plans = {"gold": "1000/minute", "lead": "1/minute"}
        return plans.get(caller.name.split("@")[0])

    yield
    caller_limits._limit_of.clear()


def statuses(client: TestClient, path: str, times: int) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


@pytest.mark.parametrize("path", ["/exempt", "/static/__init__.py"])
def test_an_exempt_route_is_not_counted_and_the_others_are(client: TestClient, path: str) -> None:
    assert set(statuses(client, path, 30)) <= {200, 304}
    assert statuses(client, "/counted", 4) == [200, 200, 200, 429]


def test_a_limit_of_its_own_counts_on_an_exempt_route(client: TestClient) -> None:
    assert statuses(client, "/exempt-with-own", 6) == [200] * 5 + [429]


def test_an_exempt_route_counts_for_no_account(client: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=client)

    assert statuses(caller, "/known-exempt", 10) == [200] * 10
    assert statuses(caller, "/known", 4) == [200, 200, 200, 429]


def test_the_log_names_a_known_caller_who_is_refused(
    client: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    caller = as_caller(client=client)

    assert statuses(caller, "/known", 5)[-2:] == [429, 429]
    refused = [fields for fields in recorded if fields.get("reason") == "rate_limit" or "limit" in fields["event"]]
    assert [(fields["event"], fields["actor"]) for fields in refused] == [
        ("excess_rate_limit_exceeded", str(caller.id)),
        ("request", str(caller.id)),
        ("request", str(caller.id)),
    ]


def test_a_public_route_names_nobody_who_only_sent_a_credential(
    client: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    caller = as_caller(client=client)

    assert [caller.get(path).status_code for path in ("/known", "/counted")] == [200, 200]
    assert [fields["actor"] for fields in recorded if fields["event"] == "request"] == [str(caller.id), "anonymous"]


@pytest.mark.usefixtures("by_name")
def test_each_caller_has_the_limit_of_their_plan(client: TestClient, as_caller: AsCaller) -> None:
    found = {}
    for name in ("gold", "lead", "none"):
        caller = as_caller(client=client, name=f"{name}@example.com")  # type: ignore[call-arg]
        found[name] = [caller.get("/known") for _ in range(6)]

    assert [answer.status_code for answer in found["gold"]] == [200] * 6
    assert [answer.status_code for answer in found["lead"]] == [200] + [429] * 5
    assert [answer.status_code for answer in found["none"]] == [200] * 3 + [429] * 3
    assert found["lead"][-1].headers["RateLimit-Policy"] == '"default";q=1;w=60'


@pytest.mark.usefixtures("by_name")
def test_the_burst_follows_the_plan(client: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=client, name="gold@example.com")  # type: ignore[call-arg]

    assert statuses(caller, "/known", 60) == [200] * 60


@pytest.mark.usefixtures("by_name")
def test_a_plan_is_of_a_verified_caller_alone(client: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=client, name="gold@example.com")  # type: ignore[call-arg]
    caller.get("/known")
    caller.headers.update({name: value for name, value in BAD_KEY.items() if name not in caller.headers})

    # The first request counted for the address, too. A header of a kind that this project lacks is no credential.
    two_credentials = len(client.app.state.credentials.kinds) > 1  # type: ignore[attr-defined]
    assert statuses(caller, "/counted", 5) == ([200] * 2 + [429] * 3 if two_credentials else [200] * 5)


@pytest.mark.parametrize("plan", [lambda caller: "many", lambda caller: 1 / 0])
def test_a_plan_that_fails_is_logged_and_rate_limit_counts(
    client: TestClient, as_caller: AsCaller, plan: LimitOf, caplog: pytest.LogCaptureFixture
) -> None:
    caller = as_caller(client=client)
    limit_of_caller(plan)
    try:
        assert statuses(caller, "/known", 4) == [200, 200, 200, 429]
    finally:
        caller_limits._limit_of.clear()

    assert "RATE_LIMIT counts instead" in caplog.text
