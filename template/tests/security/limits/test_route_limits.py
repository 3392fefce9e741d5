"""`@limiter.limit` on single routes: it counts each caller wherever the route hangs, and is never silently off."""

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.testclient import TestClient

from app.security.access.identity import Caller, public, require_scope
from app.security.rate_limits import limiter
from tests.security.build_app import assemble
from tests.security.callers import AsCaller, CallerClient, client_from
from tests.security.fixtures import MakeClient
from tests.security.timing import later

included = APIRouter(prefix="/included")


@included.get("/{number}", dependencies=[public])
@limiter.limit("2/minute")
def numbered(request: Request, number: int) -> int:
    return number


@included.get("/by/caller", dependencies=[require_scope("limited:read")])
@limiter.limit("2/minute")
async def by_caller(request: Request, caller: Caller) -> str:
    return caller.name


@included.get("/by/nobody", dependencies=[public])
@limiter.limit("2/minute", key_func=lambda: "")
def by_nobody(request: Request) -> None: ...


@pytest.fixture(autouse=True)
def forgotten_afterwards() -> Iterator[None]:
    """What a test decorates is known to the one limiter of the process: take it out again."""
    marked = limiter._Limiter__marked_for_limiting  # type: ignore[attr-defined]
    before = [(table, dict(table)) for table in (marked, limiter._route_limits, limiter._dynamic_route_limits)]
    yield
    for table, content in before:
        table.clear()
        table.update(content)


@pytest.fixture(name="client")
def client_of_limited_routes(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(lambda app: app.include_router(included)))


def statuses(client: TestClient, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


def test_a_route_is_limited_whatever_stands_in_its_path(client: TestClient) -> None:
    assert statuses(client, "/included/1", "/included/2", "/included/3") == [200, 200, 429]


def test_each_caller_is_counted_alone(client: TestClient) -> None:
    statuses(client, "/included/1", "/included/1", "/included/1")

    assert statuses(client_from(client, CallerClient), "/included/1") == [200]


def test_a_known_caller_is_counted_wherever_they_call_from(client: TestClient, as_caller: AsCaller) -> None:
    caller, elsewhere = as_caller(client=client), client_from(client, CallerClient)
    elsewhere.headers.update(caller.headers)

    answers = [one.get("/included/by/caller").status_code for one in (caller, elsewhere, caller, elsewhere)]

    assert answers == [200, 200, 429, 429]


def test_a_key_function_that_returns_nothing_switches_nothing_off(client: TestClient) -> None:
    assert statuses(client, *["/included/by/nobody"] * 3) == [200, 200, 429]


def test_several_routes_share_one_limit_and_an_empty_key_is_no_way_out(make_client: MakeClient) -> None:
    share = limiter.shared_limit("2/minute", scope="both", key_func=lambda: "")

    def add(app: FastAPI) -> None:
        @app.get("/first", dependencies=[public])
        @share
        def first(request: Request) -> None: ...

        @app.get("/second", dependencies=[public])
        @share
        def second(request: Request) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert statuses(client, "/first", "/second", "/first", "/second") == [200, 200, 429, 429]


def test_a_limit_that_turns_out_to_be_none_lets_nobody_through(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/computed", dependencies=[public])
        @limiter.limit(lambda: "often")
        def computed(request: Request) -> None: ...

    assert statuses(make_client(build=lambda: assemble(add)), "/computed") == [500]


def test_its_refusal_looks_like_every_other(client: TestClient) -> None:
    answer = [client.get("/included/1") for _ in range(3)][-1]

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["ratelimit-policy"] == '"route";q=2;w=60'
    assert re.fullmatch(r"[1-9]\d?", answer.headers["retry-after"])
    assert "per 1 minute" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


def test_who_waits_as_long_as_told_is_served(client: TestClient) -> None:
    wait = [client.get("/included/1") for _ in range(3)][-1].headers["retry-after"]

    with later(seconds=int(wait)):
        assert statuses(client, "/included/1") == [200]


def test_it_counts_in_a_mounted_app_too(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        below = FastAPI(openapi_url=None)
        below.include_router(included)
        app.mount("/below", below)

    client = make_client(build=lambda: assemble(add))

    answers = [client.get("/below/included/1") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["retry-after"]


def test_nothing_of_a_caller_is_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    statuses(client, *["/included/1"] * 3)

    assert "127.0.0.1" not in caplog.text
