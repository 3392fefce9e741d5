"""A limit of a single route that would be off without a word stops the start."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from starlette.requests import HTTPConnection

from app.security.access.identity import public
from app.security.access.policy import InsecureApp
from app.security.limits.route_limit_checks import blocking
from app.security.rate_limits import limiter
from tests.security.build_app import assemble, caller_of, forgotten, plain
from tests.security.fixtures import MakeClient


@pytest.fixture(autouse=True)
def forgotten_afterwards() -> Iterator[None]:
    """What a test decorates is known to the one limiter of the process: take it out again."""
    marked = limiter._Limiter__marked_for_limiting  # type: ignore[attr-defined]
    before = [(table, dict(table)) for table in (marked, limiter._route_limits, limiter._dynamic_route_limits)]
    yield
    limiter._exempt_routes.clear()
    for table, content in before:
        table.clear()
        table.update(content)


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


def exempt_above_its_limit(app: FastAPI) -> None:
    @app.get("/exempt", dependencies=[public])
    @limiter.exempt  # type: ignore[untyped-decorator]
    @limiter.limit("1/minute")
    def exempted(request: Request) -> None: ...


def on_a_websocket(app: FastAPI) -> None:
    @app.websocket("/socket", dependencies=[public])
    @limiter.limit("1/minute")
    async def socket(websocket: WebSocket) -> None: ...


class Bound:
    def answer(self, request: Request) -> None: ...


class Methods:
    @limiter.limit("1/minute")
    def read(self, request: Request) -> None: ...

    @limiter.limit("1/minute")
    async def __call__(self, request: Request) -> None: ...


def on_another_request(app: FastAPI) -> None:
    @app.get("/nobody", dependencies=[public])
    @limiter.limit("1/minute")
    def nobody(request: str) -> None: ...


MISTAKES: dict[str, tuple[Callable[[FastAPI], Any], str]] = {
    "above the route": (decorated_above, "GET /above: @limiter.limit stands above the route"),
    "a name used twice": (
        two_of_one_name,
        f"two functions are called {__name__}.twin",
    ),
    "for no method of the route": (for_no_method_of_the_route, "GET /wrong-method: its limit is for post alone"),
    "on a dependency": (on_a_dependency, "GET /dependency: @limiter.limit stands on one of its dependencies"),
    "another limiter": (another_limiter, "GET /foreign: its limit is of another Limiter"),
    "exempt": (exempt_above_its_limit, "test_route_limit_checks.exempted has a limit and is exempt"),
    "on a WebSocket": (on_a_websocket, "WEBSOCKET /socket: @limiter.limit counts no WebSocket"),
    "on a method": (
        lambda app: app.get("/method", dependencies=[public])(Methods().read),
        "GET /method: @limiter.limit",
    ),
    "on an object": (lambda app: app.get("/object", dependencies=[public])(Methods()), "GET /object: @limiter.limit"),
    "of no request": (on_another_request, "GET /nobody: @limiter.limit has to see who calls"),
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


@pytest.mark.parametrize("cost", [0, -1])
def test_what_costs_nothing_is_an_error_where_it_stands(cost: int) -> None:
    with pytest.raises(ValueError, match="costs nothing"):
        limiter.limit("1/minute", cost=cost)


def test_what_is_no_limit_is_an_error_where_it_stands() -> None:
    with pytest.raises(ValueError, match="often"):
        limiter.limit("often")


def test_a_function_without_its_request_is_an_error_where_it_stands() -> None:
    for decorator in (limiter.limit("1/minute"), limiter.shared_limit("1/minute", "all")):
        with pytest.raises(TypeError, match=r"forgotten has to see who calls: add request: Request"):
            decorator(forgotten)


def test_a_limit_that_sees_its_request_stands_on_any_other_form(environment: Callable[..., None]) -> None:
    def add(app: FastAPI) -> None:
        app.get("/bound", dependencies=[public])(limiter.limit("1/minute")(Bound().answer))
        app.add_route("/plain", limiter.limit("1/minute")(plain))

        @app.get("/connection", dependencies=[public])
        @limiter.limit("1/minute")
        async def connection(request: HTTPConnection) -> None: ...

    with caller_of(assemble(add, public=["/plain"])) as client:
        for path in ("/bound", "/plain", "/connection"):
            assert [client.get(path).status_code for _ in range(2)] == [200, 429], path


def two_routes(app: FastAPI) -> None:
    @app.get("/in-a-thread", dependencies=[public])
    @limiter.limit("2/minute")
    def in_a_thread(request: Request) -> None: ...

    @app.get("/in-the-loop", dependencies=[public])
    @limiter.limit("2/minute")
    async def in_the_loop(request: Request) -> None: ...


@pytest.mark.parametrize(("url", "named"), [("memory://", []), ("redis://127.0.0.1:1/0", ["GET /in-the-loop"])])
def test_doctor_names_what_waits_for_redis(
    environment: Callable[..., None], make_client: MakeClient, url: str, named: list[str]
) -> None:
    client = make_client(build=lambda: assemble(two_routes), RATE_LIMIT_STORAGE_URL=url)

    async def ask() -> list[str]:
        return await blocking(None, client.app.state.policies)  # type: ignore[arg-type, attr-defined]

    assert client.portal
    assert [line.partition(":")[0] for line in client.portal.call(ask)] == named
