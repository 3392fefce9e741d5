"""`@limiter.limit` on single routes: it counts each caller wherever the route hangs, and is never silently off."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from starlette.testclient import TestClient

from app.security.identity import Caller, public, require_scope
from app.security.rate_limits import limiter
from app.security.route_limit_checks import blocking
from app.security.route_policy import InsecureApp
from tests.security.assembled import assemble, caller_of, forgotten
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


# What would be off without a word


def decorated_above(app: FastAPI) -> None:
    @limiter.limit("1/minute")
    @app.get("/above", dependencies=[public])
    def above(request: Request) -> None: ...


def two_of_one_name(app: FastAPI) -> None:
    def make(path: str) -> None:
        @app.get(path, dependencies=[public])
        @limiter.limit("1/minute")
        def twin(request: Request) -> None: ...

    make("/one")

    @app.get("/other", dependencies=[public])
    @limiter.limit("1/minute")
    def twin(request: Request) -> str:
        return "other"


def another_limiter(app: FastAPI) -> None:
    @app.get("/foreign", dependencies=[public])
    @Limiter(key_func=lambda: "").limit("1/minute")
    def foreign(request: Request) -> None: ...


def for_no_method_of_the_route(app: FastAPI) -> None:
    @app.get("/wrong-method", dependencies=[public])
    @limiter.limit("1/minute", methods=["POST"])
    def wrong_method(request: Request) -> None: ...


def on_a_dependency(app: FastAPI) -> None:
    @limiter.limit("1/minute")
    def dependency(request: Request) -> None: ...

    @app.get("/dependency", dependencies=[public, Depends(dependency)])
    def depends(request: Request) -> None: ...


MISTAKES: dict[str, tuple[Callable[[FastAPI], Any], str]] = {
    "above the route": (decorated_above, "GET /above: @limiter.limit stands above the route"),
    "a name used twice": (two_of_one_name, "two functions are called tests.security.test_route_limits.twin"),
    "for no method of the route": (for_no_method_of_the_route, "GET /wrong-method: its limit is for post alone"),
    "on a dependency": (on_a_dependency, "GET /dependency: @limiter.limit stands on one of its dependencies"),
    "another limiter": (another_limiter, "GET /foreign: its limit is of another Limiter"),
    "a layer of slowapi": (lambda app: app.add_middleware(SlowAPIMiddleware), "SlowAPIMiddleware passes over"),
    "its other layer": (lambda app: app.add_middleware(SlowAPIASGIMiddleware), "SlowAPIASGIMiddleware passes over"),
}


@pytest.mark.parametrize(("add", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_stops_the_start(environment: Callable[..., None], add: Callable[[FastAPI], Any], said: str) -> None:
    with pytest.raises(InsecureApp, match=re.escape(said)), caller_of(assemble(add)):
        pass


def test_a_limiter_that_is_switched_off_stops_the_start(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "enabled", False)

    with pytest.raises(InsecureApp, match=r"limiter\.enabled is off"), caller_of(assemble()):
        pass


def test_limits_may_be_stacked(environment: Callable[..., None]) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/stacked", dependencies=[public])
        @limiter.limit("100/minute")
        @limiter.limit("1/second")
        def stacked(request: Request) -> None: ...

    with caller_of(assemble(add)) as client:
        assert client.get("/stacked").status_code == 200


def test_what_costs_nothing_is_an_error_where_it_stands() -> None:
    with pytest.raises(ValueError, match="costs nothing"):
        limiter.limit("1/minute", cost=0)


def test_what_is_no_limit_is_an_error_where_it_stands() -> None:
    with pytest.raises(ValueError, match="often"):
        limiter.limit("often")


def test_a_function_without_its_request_is_an_error_where_it_stands() -> None:
    for decorator in (limiter.limit("1/minute"), limiter.shared_limit("1/minute", "all")):
        with pytest.raises(TypeError, match=r"forgotten has to see who calls: add request: Request"):
            decorator(forgotten)


@pytest.mark.parametrize(("url", "named"), [("memory://", []), ("redis://127.0.0.1:1/0", ["GET /included/by/caller"])])
def test_doctor_names_what_waits_for_redis(
    environment: Callable[..., None], make_client: MakeClient, url: str, named: list[str]
) -> None:
    client = make_client(build=lambda: assemble(lambda app: app.include_router(included)), RATE_LIMIT_STORAGE_URL=url)

    async def ask() -> list[str]:
        return await blocking(None, client.app.state.policies)  # type: ignore[arg-type, attr-defined]

    assert client.portal
    assert [line.partition(":")[0] for line in client.portal.call(ask)] == named
