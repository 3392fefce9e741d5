"""`@limiter.limit` counts each caller on its route, and one that would have no effect fails at start-up."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from slowapi import Limiter
from starlette.testclient import TestClient

from app.security.access.identity import Caller, public, require_scope
from app.security.access.policy import InsecureApp
from app.security.rate_limits import limiter
from tests.security.build_app import assemble, caller_of, forgotten
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


@pytest.fixture(name="client")
def client_of_limited_routes(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(lambda app: app.include_router(included)))


def statuses(client: TestClient, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


def test_a_route_is_limited_for_each_caller_with_any_path_parameter(client: TestClient) -> None:
    assert statuses(client, "/included/1", "/included/2", "/included/3") == [200, 200, 429]
    assert statuses(client_from(client, CallerClient), "/included/1") == [200]


@pytest.mark.slow
def test_an_account_is_counted_from_every_address(client: TestClient, as_caller: AsCaller) -> None:
    caller, elsewhere = as_caller(client=client), client_from(client, CallerClient)
    elsewhere.headers.update(caller.headers)

    found = [one.get("/included/by/caller").status_code for one in (caller, elsewhere, caller, elsewhere)]

    assert found == [200, 200, 429, 429]


@pytest.mark.slow
def test_an_invalid_body_is_counted(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/numbers", dependencies=[public])
        @limiter.limit("2/minute")
        def numbers(request: Request, body: list[int]) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert [client.post("/numbers", json=["no number"]).status_code for _ in range(3)] == [422, 422, 429]


@pytest.mark.slow
def test_several_routes_share_one_limit(make_client: MakeClient) -> None:
    share = limiter.shared_limit("2/minute", scope="both")

    def add(app: FastAPI) -> None:
        @app.get("/first", dependencies=[public])
        @share
        def first(request: Request) -> None: ...

        @app.get("/second", dependencies=[public])
        @share
        def second(request: Request) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert statuses(client, "/first", "/second", "/first", "/second") == [200, 200, 429, 429]


def test_the_refusal_is_a_problem_and_an_event(
    client: TestClient, recorded: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    refused = [client.get("/included/1") for _ in range(3)][-1]

    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["ratelimit-policy"] == '"route";q=2;w=60'
    assert re.fullmatch(r"[1-9]\d?", refused.headers["retry-after"])
    assert [fields["event"] for fields in recorded].count("excess_rate_limit_exceeded") == 1
    assert "127.0.0.1" not in caplog.text
    with later(seconds=int(refused.headers["retry-after"])):
        assert statuses(client, "/included/1") == [200]


def decorated_above(app: FastAPI) -> None:
    @limiter.limit("1/minute")
    @app.get("/above", dependencies=[public])
    def above(request: Request) -> None: ...


def foreign(app: FastAPI) -> None:
    @app.get("/foreign", dependencies=[public])
    @Limiter(key_func=lambda: "").limit("1/minute")
    def foreign(request: Request) -> None: ...


@pytest.mark.parametrize(
    ("add", "message"),
    [(decorated_above, "GET /above: @limiter.limit has no effect"), (foreign, "GET /foreign: another Limiter")],
)
def test_a_limit_without_effect_fails_at_start_up(
    environment: Callable[..., None], add: Callable[[FastAPI], Any], message: str
) -> None:
    with pytest.raises(InsecureApp, match=re.escape(message)), caller_of(assemble(add)):
        pass


def test_a_mistake_is_an_error_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="often"):
        limiter.limit("often")
    with pytest.raises(TypeError, match="forgotten needs its request: add request: Request"):
        limiter.limit("1/minute")(forgotten)
