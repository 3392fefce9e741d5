"""Every form of endpoint gets its caller, and the body of an unauthenticated client is never read."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import DbSession
from app.security.access.credentials import Credential, Principal
from app.security.access.identity import Caller, RequireScope, authenticate, public, require_scope
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask

READ = require_scope("things:read")
MALFORMED: dict[str, Any] = {"content": "{", "headers": {"Content-Type": "application/json"}}
SOMEONE = Principal(UUID(int=7), "someone", "person", frozenset(), None, Credential("jwt", UUID(int=8), None))


async def reader(caller: Annotated[Principal, READ]) -> Principal:
    return caller


async def current(db: DbSession, caller: Annotated[Principal, Depends(reader)]) -> str:
    return str(caller.id)


Current = Annotated[str, Depends(current)]


class ObjectEndpoint:
    async def __call__(self, body: dict[str, int], found: Current) -> str:
        return found


@pytest.mark.parametrize("annotation", [Principal, Annotated[Principal, Depends()]])
def test_a_caller_that_would_be_read_from_the_body_is_refused_when_the_route_is_defined(annotation: Any) -> None:
    async def route(caller: Principal) -> None: ...

    route.__annotations__["caller"] = annotation

    with pytest.raises(TypeError, match="write `caller: Caller`"):
        FastAPI().post("/mine", dependencies=[READ])(route)


async def nested(body: dict[str, int], found: Current) -> str:
    return found


async def after_another(db: DbSession, body: dict[str, int], caller: Annotated[Principal, READ]) -> str:
    return str(caller.id)


async def lines(body: dict[str, int], found: Current) -> AsyncIterator[str]:
    yield found


def in_a_thread(body: dict[str, int], caller: Annotated[Principal, READ]) -> str:
    return str(caller.id)


async def by_dependencies(body: dict[str, int], connection: HTTPConnection, caller: Caller, same: Caller) -> str:
    assert caller == same
    return str(caller.id)


def add_endpoints(app: FastAPI) -> None:
    router = APIRouter(prefix="/router")
    router.post("")(nested)
    app.include_router(router)
    app.post("/function")(nested)
    app.post("/after-another")(after_another)
    app.post("/object")(ObjectEndpoint())
    app.post("/lines")(lines)
    app.post("/thread")(in_a_thread)
    app.post("/dependencies", dependencies=[READ])(by_dependencies)


forms = pytest.mark.parametrize(
    "path", ["/router", "/function", "/after-another", "/object", "/lines", "/thread", "/dependencies"]
)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_endpoints), AUTH_CACHE_SECONDS="0")


@forms
def test_no_body_of_an_unauthenticated_client_is_read(client: TestClient, path: str) -> None:
    read: list[str] = []

    async def receive() -> Message:
        read.append("a piece")
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def call() -> int:
        return await ask(client, path, receive, content_type="application/json", content_length="900000")

    assert client.portal is not None
    assert client.portal.call(call) == 401
    assert read == []


@forms
def test_malformed_json_gets_400_only_from_a_caller_with_the_scope(
    client: TestClient, as_caller: AsCaller, path: str
) -> None:
    other, reads = as_caller(scope="other:read"), as_caller(scope="things:read")

    assert [one.post(path, **MALFORMED).status_code for one in (client, other, reads)] == [401, 403, 400]


@forms
def test_the_caller_is_verified_once_a_request(client: TestClient, as_caller: AsCaller, path: str) -> None:
    caller = as_caller(scope="things:read")
    verified: list[str] = []

    async def count(connection: HTTPConnection, principal: Principal) -> None:
        verified.append(principal.name)

    client.app.state.credentials.on_identified.append(count)  # type: ignore[attr-defined]
    response = caller.post(path, json={})

    assert str(caller.id) in response.text
    assert len(verified) == 1


@pytest.mark.parametrize("overridden", [[reader], [authenticate, READ.dependency]])
def test_a_test_may_override_the_caller(make_client: MakeClient, overridden: list[Any]) -> None:
    def build() -> FastAPI:
        app = assemble(add_endpoints)
        for dependency in overridden:
            app.dependency_overrides[dependency] = lambda: SOMEONE
        return app

    path = "/function" if reader in overridden else "/dependencies"

    assert make_client(build=build).post(path, json={}).json() == str(SOMEONE.id)


class Lenient(RequireScope):
    """An owner's own requirement, which does not always authenticate."""

    async def __call__(self, connection: HTTPConnection) -> Principal:
        if connection.scope["state"].get("is_open"):
            return SOMEONE
        return await super().__call__(connection)


def test_an_owners_own_requirement_is_called_as_the_dependency_it_is(make_client: MakeClient) -> None:
    async def look(connection: HTTPConnection, is_open: bool = False) -> None:
        connection.scope["state"]["is_open"] = is_open

    async def name(
        looked: Annotated[None, Depends(look)], one: Annotated[Principal, Depends(Lenient("things:read"))]
    ) -> str:
        return one.name

    client = make_client(build=lambda: assemble(lambda app: app.get("/lenient", dependencies=[public])(name)))

    assert client.get("/lenient", params={"is_open": "1"}).json() == "someone"
    assert client.get("/lenient").status_code == 401


class Closed:
    """What an owner wraps around one route."""

    def __init__(self, app: ASGIApp) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response("closed", 451)(scope, receive, send)


class ClosedRoute(APIRoute):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app = Closed(self.app)


def test_no_route_class_and_no_wrapper_of_a_route_skips_authentication(
    make_client: MakeClient, as_caller: AsCaller
) -> None:
    def add(app: FastAPI) -> None:
        app.post("/around")(nested)
        app.routes[-1].app = Closed(app.routes[-1].app)  # type: ignore[attr-defined]
        app.get("/handle", dependencies=[READ])(lambda: "")
        app.routes[-1].handle = Response("closed", 451)  # type: ignore[method-assign]
        own = APIRouter(route_class=ClosedRoute)
        own.get("/class", dependencies=[READ])(lambda: "")
        own.get("/open", dependencies=[public])(lambda: "")
        app.router.routes.extend(own.routes)

    client = make_client(build=lambda: assemble(add))
    calls = [("POST", "/around"), ("GET", "/handle"), ("GET", "/class"), ("GET", "/open")]

    def statuses(caller: TestClient) -> list[int]:
        return [caller.request(method, path).status_code for method, path in calls]

    assert statuses(client) == [401, 401, 401, 451]
    assert statuses(as_caller(scope="other:read", client=client)) == [403, 403, 403, 451]
    assert statuses(as_caller(scope="things:read", client=client)) == [451] * 4


async def whole(caller: Annotated[Principal, READ]) -> Any:
    return caller


def test_a_caller_in_a_response_holds_no_secret(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=lambda: assemble(lambda app: app.get("/whole")(whole)))

    body = as_caller(scope="things:read", client=client).get("/whole").json()

    assert set(body) == {"id", "name", "kind", "roles", "scopes", "credential"}
