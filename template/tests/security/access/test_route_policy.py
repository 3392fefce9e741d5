"""A route that nobody protected is not served: the start stops and names it, however the route got there."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.identity import Caller, public, require_scope
from app.security.access.policy import InsecureApp
from app.security.compose import fastapi_options
from tests.security.build_app import Add, assemble, caller_of, forgotten, plain, some_folder
from tests.security.callers import AsCaller
from tests.security.every_route import guarded_calls
from tests.security.fixtures import MakeClient


class Odd(BaseRoute):
    """A kind of route that nobody has heard of."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["type"] == "http" and scope["path"] == "/odd" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("open to all")(scope, receive, send)


def on_the_app(app: FastAPI) -> None:
    app.get("/forgotten")(forgotten)


def on_a_router(app: FastAPI) -> None:
    router = APIRouter(prefix="/b")
    router.get("/forgotten")(forgotten)
    app.include_router(router, prefix="/a")


def on_a_router_within_routers(app: FastAPI) -> None:
    inner, middle = APIRouter(), APIRouter()
    inner.get("/forgotten")(forgotten)
    middle.include_router(inner, prefix="/c")
    app.include_router(middle, prefix="/a/b")


def as_a_websocket(app: FastAPI) -> None:
    app.websocket("/forgotten")(forgotten)


def in_a_mounted_app(app: FastAPI) -> None:
    below = FastAPI(**fastapi_options())
    below.get("/forgotten")(forgotten)
    app.mount("/below", below)


class Cached(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return plain


def on_a_route_that_handles_itself(app: FastAPI) -> None:
    router = APIRouter(route_class=Cached)
    router.get("/forgotten", dependencies=[require_scope("a:read")])(forgotten)
    app.include_router(router)


def on_a_route_with_a_handle_of_its_own(app: FastAPI) -> None:
    app.get("/forgotten", dependencies=[require_scope("a:read")])(forgotten)
    app.routes[-1].handle = PlainTextResponse("open to all")  # type: ignore[method-assign]


def documents_of_a_mounted_app(app: FastAPI) -> None:
    app.mount("/below", FastAPI())


def mounted_as_a_whole(app: FastAPI) -> None:
    app.mount("/static", PlainTextResponse("open to all"))


class Answering:
    """A layer that lets nothing through."""

    def __init__(self, app: ASGIApp) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("open to all")(scope, receive, send)


def by_a_layer_of_a_mount(app: FastAPI) -> None:
    app.router.routes.append(Mount("/m", routes=[], middleware=[Middleware(Answering)]))


def as_a_plain_route(app: FastAPI) -> None:
    app.router.routes.append(Route("/forgotten", plain))


def by_host(app: FastAPI) -> None:
    app.router.routes.append(Host("other.example.com", Mount("/", routes=[Route("/forgotten", plain)])))


def of_an_unknown_kind(app: FastAPI) -> None:
    app.router.routes.append(Odd())


def instead_of_not_found(app: FastAPI) -> None:
    app.router.default = PlainTextResponse("open to all")


def as_a_frontend(app: FastAPI) -> None:
    app.frontend("/pages", directory=some_folder(), fallback=None)


def as_a_frontend_of_a_router(app: FastAPI) -> None:
    router = APIRouter()
    router.frontend("/pages", directory=some_folder(), fallback=None)
    app.include_router(router, prefix="/a")


WAYS: list[tuple[Add, str, str]] = [
    (on_the_app, "GET /forgotten", "/forgotten"),
    (on_a_router, "GET /a/b/forgotten", "/a/b/forgotten"),
    (on_a_router_within_routers, "GET /a/b/c/forgotten", "/a/b/c/forgotten"),
    (as_a_websocket, "WEBSOCKET /forgotten", "/forgotten"),
    (in_a_mounted_app, "GET /below/forgotten", "/below/forgotten"),
    (on_a_route_that_handles_itself, "/forgotten/* (Cached) replaces get_route_handler", "/forgotten"),
    (on_a_route_with_a_handle_of_its_own, "/forgotten/* (APIRoute) replaces handle", "/forgotten"),
    (documents_of_a_mounted_app, "GET,HEAD /below/openapi.json", "/below/openapi.json"),
    (mounted_as_a_whole, "/static", "/static/x"),
    (by_a_layer_of_a_mount, "* /m", "/m/x"),
    (as_a_plain_route, "GET,HEAD /forgotten", "/forgotten"),
    (by_host, "//other.example.com", "/forgotten"),
    (of_an_unknown_kind, "Odd", "/odd"),
    (instead_of_not_found, "router.default", "/whatever"),
    (as_a_frontend, "/pages", "/pages/fixtures.py"),
    (as_a_frontend_of_a_router, "/a/pages", "/a/pages/fixtures.py"),
]
ways = pytest.mark.parametrize(("add", "named", "path"), WAYS, ids=[way[0].__name__ for way in WAYS])


@ways
def test_the_start_stops_and_names_the_route(environment: Callable[..., None], add: Add, named: str, path: str) -> None:
    environment()

    with pytest.raises(InsecureApp, match="does not start") as stopped, TestClient(assemble(add)):
        pass

    assert named in str(stopped.value)


@ways
def test_without_a_start_no_request_is_answered(
    environment: Callable[..., None], add: Add, named: str, path: str
) -> None:
    environment()
    client = caller_of(assemble(add))

    assert [client.get(path).status_code for _ in range(2)] == [500, 500]
    assert client.get("/health/live").status_code == 500


def test_what_is_declared_is_served(environment: Callable[..., None]) -> None:
    environment()

    def add(app: FastAPI) -> None:
        app.get("/open", dependencies=[public])(forgotten)
        app.get("/scoped", dependencies=[require_scope("a:read")])(forgotten)
        app.frontend("/pages", directory=some_folder(), fallback=None)
        app.mount("/below", FastAPI())

    client = caller_of(assemble(add, public=["/pages", "/below"]))

    assert client.get("/open").status_code == 200
    assert client.get("/scoped").status_code == 401
    assert client.get("/pages/fixtures.py").status_code == 200
    assert client.get("/below/openapi.json").status_code == 200


def test_a_guard_on_a_router_or_its_inclusion_guards_its_routes(environment: Callable[..., None]) -> None:
    environment()

    async def someone(caller: Caller) -> None: ...

    def add(app: FastAPI) -> None:
        guarded, included = APIRouter(dependencies=[Depends(someone), require_scope("a:read")]), APIRouter()
        guarded.get("/one")(forgotten)
        included.get("/two")(forgotten)
        app.include_router(guarded)
        app.include_router(included, dependencies=[require_scope("a:read")])

    client = caller_of(assemble(add))

    assert [client.get(path).status_code for path in ("/one", "/two")] == [401, 401]


def test_a_limited_credential_reaches_only_what_names_its_scope(
    make_client: MakeClient, as_caller: AsCaller, request: pytest.FixtureRequest
) -> None:
    async def someone(caller: Caller) -> None: ...

    expected = {"/lamps": 200, "/doors": 403}
    if request.config.pluginmanager.has_plugin(f"{__package__}.persons"):
        expected["/vault"] = 403  # which names none; where every caller is limited, it stops the start

    def add(app: FastAPI) -> None:
        app.get("/lamps", dependencies=[require_scope("lamps:read")])(forgotten)
        app.get("/doors", dependencies=[require_scope("doors:read")])(forgotten)
        if "/vault" in expected:
            app.get("/vault", dependencies=[public, Depends(someone)])(forgotten)

    caller = as_caller(scope="lamps:read", client=make_client(build=lambda: assemble(add)))

    assert {path: caller.get(path).status_code for path in expected} == expected


def test_a_public_name_that_no_route_has_is_a_mistake(environment: Callable[..., None]) -> None:
    environment()

    with pytest.raises(InsecureApp, match="/statics"), TestClient(assemble(public=["/statics"])):
        pass


def test_every_route_of_this_project_that_is_not_public_asks_who_is_calling(client: TestClient) -> None:
    policies = client.app.state.policies.all  # type: ignore[attr-defined]
    calls = list(guarded_calls(client))

    assert {made.policy for made in calls} == {policy for policy in policies if not policy.public}
    assert {made.path: made.status(client) for made in calls if made.status(client) not in (401, 403)} == {}


def test_a_public_path_opens_no_route_that_can_say_so_itself(environment: Callable[..., None]) -> None:
    environment()

    def add(app: FastAPI) -> None:
        app.add_route("/both", plain, methods=["GET"])
        app.delete("/both")(forgotten)

    with pytest.raises(InsecureApp, match="DELETE /both"), TestClient(assemble(add, public=["/both"])):
        pass
