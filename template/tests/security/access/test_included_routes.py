"""Routes of included routers answer as in FastAPI: with the prefix, dependencies and limits of where they are."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Form, Request, WebSocket
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.testclient import TestClient
from starlette.types import Scope

from app.security.access.identity import Caller, public, require_scope
from app.security.access.included_routes import IncludedRoute, unfolded
from app.security.admission.request_guard import accepts
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

OPEN = [public]
FORM = "application/x-www-form-urlencoded"


async def who(number: int, request: Request) -> str:
    return f"{number} {request.scope['route'].path} {request.url_for('who', number=number).path}"


def add_twice(app: FastAPI) -> None:
    shared, middle, outer = APIRouter(), APIRouter(prefix="/middle"), APIRouter(prefix="/outer")
    shared.get("/{number}")(who)
    shared.post("/{number}", status_code=201)(who)
    middle.include_router(shared, prefix="/inner", dependencies=[require_scope("things:read")])
    outer.include_router(middle)
    app.include_router(outer)
    app.include_router(shared, prefix="/open", dependencies=OPEN)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_twice))


def test_a_router_included_twice_asks_for_what_each_inclusion_says(client: TestClient, as_caller: AsCaller) -> None:
    guarded, open_to_all = "/outer/middle/inner/7", "/open/7"

    assert [client.get(path).status_code for path in (guarded, open_to_all)] == [401, 200]
    assert as_caller(scope="other:read").get(guarded).status_code == 403
    assert as_caller(scope="things:read").get(guarded).status_code == 200


def test_the_endpoint_finds_its_route_its_parameters_and_its_address(client: TestClient) -> None:
    assert client.get("/open/7").json().startswith("7 /{number} /")
    assert client.post("/open/7").status_code == 201
    assert client.get("/open/x").status_code == 422


def test_another_method_is_refused_and_told_which_would_do(client: TestClient) -> None:
    answer = client.delete("/open/7")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


def test_every_route_of_ordinary_routers_is_looked_up_once(client: TestClient) -> None:
    routes = [one for route in client.app.router.routes for one in unfolded(route)]  # type: ignore[attr-defined]

    assert [type(one) for one in routes].count(IncludedRoute) == 4


class OfTenant(APIRouter):
    """An owner's router, which exists for one tenant alone."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        known = (b"x-tenant", b"one") in scope["headers"]
        return super().matches(scope) if known else (Match.NONE, {})


@pytest.mark.parametrize("nested", [False, True], ids=["on the app", "nested"])
def test_what_an_owner_decides_about_routing_is_asked(make_client: MakeClient, nested: bool) -> None:
    def add(app: FastAPI) -> None:
        router, around = OfTenant(), APIRouter()
        router.add_api_route("/tenants", _nothing, dependencies=OPEN)
        around.include_router(router)
        app.include_router(around if nested else router)

    client = make_client(build=lambda: assemble(add))

    assert client.get("/tenants").status_code == 404
    assert client.get("/tenants", headers={"X-Tenant": "one"}).status_code == 200


async def _nothing() -> None: ...


class RouteOfTenant(APIRoute):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        known = (b"x-tenant", b"one") in scope["headers"]
        return super().matches(scope) if known else (Match.NONE, {})


def test_a_route_that_decides_for_itself_is_asked(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        router = APIRouter(route_class=RouteOfTenant)
        router.add_api_route("/tenants", _nothing)
        app.include_router(router)

    client = make_client(build=lambda: assemble(add, public=["/tenants/* (RouteOfTenant)"]))

    assert client.get("/tenants").status_code == 404
    assert client.get("/tenants", headers={"X-Tenant": "one"}).status_code == 200


def test_a_routers_limits_for_forms_hold(make_client: MakeClient) -> None:
    limited = APIRouter(form_limits={"max_fields": 2})

    @limited.post("/forms", dependencies=[*OPEN, accepts(FORM)])
    async def forms(a: Annotated[str, Form()]) -> str:
        return a

    client = make_client(build=lambda: assemble(lambda app: app.include_router(limited)))

    def sent(fields: str) -> int:
        return client.post("/forms", content=fields, headers={"Content-Type": FORM}).status_code

    assert [sent("a=1"), sent("a=1&b=2&c=3")] == [200, 400]


def test_sockets_and_plain_routes_beside_them_answer(make_client: MakeClient, as_caller: AsCaller) -> None:
    mixed: Any = APIRouter(prefix="/mixed")

    @mixed.websocket("/socket", dependencies=[require_scope("things:read")])
    async def socket(socket: WebSocket, caller: Caller) -> None:
        await socket.accept()
        await socket.send_text(str(caller.id))
        await socket.close()

    @mixed.get("/page", dependencies=OPEN)
    async def page(same: Annotated[str, Depends(lambda: "page")]) -> str:
        return same

    client = make_client(build=lambda: assemble(lambda app: app.include_router(mixed)))
    caller = as_caller(scope="things:read", client=client)

    assert client.get("/mixed/page").json() == "page"
    with client.websocket_connect("/mixed/socket", headers=caller.headers) as connected:
        assert connected.receive_text() == str(caller.id)
