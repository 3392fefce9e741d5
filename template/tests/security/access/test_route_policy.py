"""A route without authentication fails the start-up, which names it, however the route was added."""

from collections.abc import Callable

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.identity import Caller, public, require_scope
from app.security.access.policy import InsecureApp
from app.security.compose import fastapi_options
from app.security.core.settings import ROOT
from tests.security.build_app import Add, assemble, caller_of, forgotten, plain, some_folder
from tests.security.callers import AsCaller
from tests.security.every_route import guarded_calls
from tests.security.fixtures import MakeClient


class Odd(BaseRoute):
    """An unknown kind of route."""

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


def documents_of_a_mounted_app(app: FastAPI) -> None:
    app.mount("/below", FastAPI())


def mounted_as_a_whole(app: FastAPI) -> None:
    app.mount("/static", PlainTextResponse("open to all"))


class Answering:
    """Middleware that responds to every request."""

    def __init__(self, app: ASGIApp) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("open to all")(scope, receive, send)


def by_middleware_of_a_mount(app: FastAPI) -> None:
    app.router.routes.append(Mount("/m", routes=[], middleware=[Middleware(Answering)]))


def as_a_plain_route(app: FastAPI) -> None:
    app.router.routes.append(Route("/forgotten", plain))


def by_host(app: FastAPI) -> None:
    app.router.routes.append(Host("other.example.com", Mount("/", routes=[Route("/forgotten", plain)])))


def of_an_unknown_kind(app: FastAPI) -> None:
    app.router.routes.append(Odd())


WAYS: list[tuple[Add, str, str]] = [
    (on_the_app, "GET /forgotten", "/forgotten"),
    (on_a_router, "GET /a/b/forgotten", "/a/b/forgotten"),
    (on_a_router_within_routers, "GET /a/b/c/forgotten", "/a/b/c/forgotten"),
    (as_a_websocket, "WEBSOCKET /forgotten", "/forgotten"),
    (in_a_mounted_app, "GET /below/forgotten", "/below/forgotten"),
    (documents_of_a_mounted_app, "the app at /below lacks our limits", "/below/openapi.json"),
    (mounted_as_a_whole, 'secure(app, public=["/static"])', "/static/x"),
    (by_middleware_of_a_mount, "/m takes no dependencies", "/m/x"),
    (as_a_plain_route, "/forgotten takes no dependencies", "/forgotten"),
    (by_host, "(Host) is a kind of route", "/forgotten"),
    (of_an_unknown_kind, "Odd", "/odd"),
]
DAILY = (on_the_app, on_a_router, as_a_websocket, mounted_as_a_whole)
ways = pytest.mark.parametrize(
    ("add", "named", "path"),
    [pytest.param(*way, id=way[0].__name__, marks=[pytest.mark.slow] * (way[0] not in DAILY)) for way in WAYS],
)


@ways
def test_the_start_up_fails_and_names_the_route(
    environment: Callable[..., None], add: Add, named: str, path: str
) -> None:
    environment()

    with pytest.raises(InsecureApp, match="does not start") as stopped, TestClient(assemble(add)):
        pass

    assert named in str(stopped.value)


@ways
def test_without_a_start_up_every_request_is_refused(
    environment: Callable[..., None], add: Add, named: str, path: str
) -> None:
    environment()
    client = caller_of(assemble(add))

    assert [client.get(path).status_code for _ in range(2)] == [500, 500]
    assert client.get("/health/live").status_code == 500


def test_a_declared_path_is_served(environment: Callable[..., None]) -> None:
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


def test_a_limited_credential_reaches_only_routes_that_require_its_scope(
    make_client: MakeClient, as_caller: AsCaller
) -> None:
    async def someone(caller: Caller) -> None: ...

    expected = {"/lamps": 200, "/doors": 403}
    if any((ROOT / "app/security/authentication").glob("*.py")):
        expected["/vault"] = 403  # requires no scope; where every credential is limited, it fails the start-up

    def add(app: FastAPI) -> None:
        app.get("/lamps", dependencies=[require_scope("lamps:read")])(forgotten)
        app.get("/doors", dependencies=[require_scope("doors:read")])(forgotten)
        if "/vault" in expected:
            app.get("/vault", dependencies=[public, Depends(someone)])(forgotten)

    caller = as_caller(scope="lamps:read", client=make_client(build=lambda: assemble(add)))

    assert {path: caller.get(path).status_code for path in expected} == expected


def test_every_route_of_this_project_that_is_not_public_requires_authentication(client: TestClient) -> None:
    policies = client.app.state.policies.all  # type: ignore[attr-defined]
    calls = list(guarded_calls(client))

    assert {made.policy for made in calls} == {policy for policy in policies if not policy.public}
    assert {made.path: made.status(client) for made in calls if made.status(client) not in (401, 403)} == {}
    malformed = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    assert [made.path for made in calls if made.status(client, **malformed) in (400, 422)] == []  # it was read


def test_a_public_path_opens_no_route_that_declares_dependencies(environment: Callable[..., None]) -> None:
    environment()

    def add(app: FastAPI) -> None:
        app.add_route("/both", plain, methods=["GET"])
        app.delete("/both")(forgotten)

    with pytest.raises(InsecureApp, match="DELETE /both"), TestClient(assemble(add, public=["/both"])):
        pass
