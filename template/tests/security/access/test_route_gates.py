"""Who is calling is asked before a body is read, and callers reach every form of endpoint."""

from collections.abc import AsyncIterator
from inspect import signature
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.credentials import Credential, Principal
from app.security.access.identity import Caller, authenticate, public, require_scope
from app.security.access.policy import Declaration, Policy
from app.security.access.route_gates import Gate
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask

SCOPED = [require_scope("things:read")]


class Answer(BaseModel):
    caller: UUID


async def own_dependency(caller: Caller) -> UUID:
    return caller.id


def add_endpoints(app: FastAPI) -> None:
    router, nested = APIRouter(prefix="/deep", dependencies=SCOPED), APIRouter(prefix="/er")

    @app.get("/plain", dependencies=SCOPED)
    async def plain(caller: Caller) -> Answer:
        return Answer(caller=caller.id)

    @app.get("/in-a-thread", dependencies=SCOPED)
    def in_a_thread(caller: Caller) -> Answer:
        return Answer(caller=caller.id)

    @app.get("/with-connection/{name}", dependencies=SCOPED)
    async def with_connection(name: str, connection: HTTPConnection, request: Request, caller: Caller) -> Answer:
        assert name == connection.path_params["name"] == request.path_params["name"]
        return Answer(caller=caller.id)

    @app.get("/two-names", dependencies=SCOPED)
    async def two_names(caller: Caller, same: Caller, mine: Annotated[UUID, Depends(own_dependency)]) -> Answer:
        assert caller == same
        return Answer(caller=mine)

    @app.get("/stream", dependencies=SCOPED)
    async def stream(caller: Caller) -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            yield Answer(caller=caller.id).model_dump_json()

        return StreamingResponse(pieces(), media_type="application/json")

    @nested.get("/still")
    async def deeper(caller: Caller) -> Answer:
        return Answer(caller=caller.id)

    @app.post("/body", dependencies=SCOPED)
    async def with_body(body: Answer) -> Answer:
        return body

    router.include_router(nested)
    app.include_router(router, prefix="/very")


PATHS = ["/plain", "/in-a-thread", "/with-connection/x", "/two-names", "/stream", "/very/deep/er/still"]


def app_of_endpoints() -> FastAPI:
    return assemble(add_endpoints)


@pytest.fixture(name="client")
def client_of_endpoints(make_client: MakeClient) -> TestClient:
    return make_client(build=app_of_endpoints)


@pytest.mark.parametrize("path", PATHS)
def test_every_form_of_endpoint_knows_its_caller(client: TestClient, as_caller: AsCaller, path: str) -> None:
    caller = as_caller(scope="things:read")

    answer = caller.get(path)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"caller": str(caller.id)}


@pytest.mark.parametrize("path", PATHS)
def test_no_form_of_endpoint_answers_a_stranger_or_who_lacks_the_scope(
    client: TestClient, as_caller: AsCaller, path: str
) -> None:
    assert client.get(path).status_code == 401
    assert as_caller(scope="other:read").get(path).status_code == 403


def test_nothing_of_a_strangers_body_is_read(client: TestClient) -> None:
    read: list[str] = []

    async def receive() -> Message:
        read.append("a piece")
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def call() -> int:
        return await ask(client, "/body", receive, content_type="application/json", content_length="900000")

    assert client.portal is not None
    assert client.portal.call(call) == 401
    assert read == []


def test_a_stranger_with_malformed_json_is_a_stranger_first(client: TestClient, as_caller: AsCaller) -> None:
    malformed: dict[str, Any] = {"content": "{", "headers": {"Content-Type": "application/json"}}

    assert client.post("/body", **malformed).status_code == 401
    assert as_caller(scope="things:read").post("/body", **malformed).status_code == 400


def test_an_override_in_a_test_takes_the_place_of_the_caller(make_client: MakeClient) -> None:
    someone = Principal(UUID(int=7), "someone", "person", frozenset(), None, Credential("jwt", UUID(int=8), None))

    def build() -> FastAPI:
        app = assemble(lambda app: app.get("/mine", dependencies=SCOPED)(_mine))
        for asked in (authenticate, SCOPED[0].dependency):
            app.dependency_overrides[asked] = lambda: someone
        return app

    assert make_client(build=build).get("/mine").json() == str(someone.id)


async def _mine(caller: Caller) -> UUID:
    return caller.id


class Own(Declaration):
    """A declaration of an owner."""

    def declare(self, policy: Policy) -> None:
        policy.public = True


class Shouting(Own):
    async def __call__(self, word: str) -> str:
        return word.upper()


class ShoutingWhere(Own):
    async def __call__(self, connection: HTTPConnection, word: str) -> str:
        return f"{word} at {connection.scope['path']}".upper()


class InAThread(Own):
    def __call__(self, connection: HTTPConnection) -> str:
        return connection.scope["path"].upper()


class CleaningUp(Own):
    async def __call__(self, connection: HTTPConnection) -> AsyncIterator[str]:
        yield connection.scope["path"].upper()


@pytest.mark.parametrize(
    ("own", "found"),
    [(Shouting, "HELLO"), (ShoutingWhere, "HELLO AT /SHOUT"), (InAThread, "/SHOUT"), (CleaningUp, "/SHOUT")],
)
def test_an_owners_declaration_of_another_form_is_solved_as_a_dependency(
    make_client: MakeClient, own: type[Own], found: str
) -> None:
    async def shout(loud: Annotated[str, Depends(own())]) -> str:
        return loud

    client = make_client(build=lambda: assemble(lambda app: app.get("/shout", dependencies=[public])(shout)))

    assert client.get("/shout", params={"word": "hello"}).json() == found
    assert client.get("/shout").status_code == (422 if "word" in signature(own.__call__).parameters else 200)


class Closed:
    """What an owner puts around one route."""

    def __init__(self, app: ASGIApp) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response("closed", 451)(scope, receive, send)


class ClosedRoute(APIRoute):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app = Closed(self.app)


def test_what_an_owner_put_around_a_route_stays_there(make_client: MakeClient, as_caller: AsCaller) -> None:
    def add(app: FastAPI) -> None:
        app.get("/around", dependencies=SCOPED)(_mine)
        app.routes[-1].app = Closed(app.routes[-1].app)  # type: ignore[attr-defined]
        own = APIRouter(route_class=ClosedRoute)
        own.get("/class", dependencies=SCOPED)(_mine)
        app.router.routes.extend(own.routes)

    caller = as_caller(scope="things:read", client=make_client(build=lambda: assemble(add)))

    assert [caller.get(path).status_code for path in ("/around", "/class")] == [451, 451]


class OfTenant(Declaration):
    def declare(self, policy: Policy) -> None:
        policy.public = True

    async def __call__(self, connection: HTTPConnection) -> None:
        if connection.scope["state"].get("tenant") != "open":
            raise HTTPException(403)


def test_a_declaration_behind_another_dependency_finds_what_that_one_did(make_client: MakeClient) -> None:
    async def tenant(request: Request) -> None:
        request.scope["state"]["tenant"] = request.query_params["tenant"]

    def add(app: FastAPI) -> None:
        app.get("/tenants", dependencies=[public, Depends(tenant), Depends(OfTenant())])(_nothing)

    client = make_client(build=lambda: assemble(add))

    assert [client.get("/tenants", params={"tenant": name}).status_code for name in ("open", "x")] == [200, 403]


async def _nothing() -> None: ...


def test_every_route_that_declares_something_has_its_gate(client: TestClient) -> None:
    """Else FastAPI has changed: the declarations hold all the same, later and at a higher price."""
    contexts = list(iter_route_contexts(client.app.router.routes))  # type: ignore[attr-defined]
    routes = [(found.path, found.app) for found in contexts if isinstance(found.original_route, APIRoute)]

    assert len(routes) > len(PATHS)
    assert [path for path, app in routes if not isinstance(app, Gate)] == []
