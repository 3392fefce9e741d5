"""A caller whom only another dependency names is asked for before a body is read, too, and verified once."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from starlette.types import Message

from app.database import DbSession
from app.security.access.credentials import Credential, Principal
from app.security.access.identity import RequireScope, public, require_scope
from tests.security.access.test_route_gates import Closed, ClosedRoute
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask

READ = require_scope("things:read")
MALFORMED: dict[str, Any] = {"content": "{", "headers": {"Content-Type": "application/json"}}


async def reader(caller: Annotated[Principal, READ]) -> Principal:
    return caller


async def current(db: DbSession, caller: Annotated[Principal, Depends(reader)], number: int) -> str:
    return f"{number} of {caller.id}"


Current = Annotated[str, Depends(current)]


class OneOf:
    """An endpoint that is no function."""

    async def __call__(self, body: dict[str, int], found: Current) -> str:
        return found


async def nested(body: dict[str, int], found: Current) -> str:
    return found


async def behind_another(db: DbSession, body: dict[str, int], caller: Annotated[Principal, READ], number: int) -> str:
    return f"{number} of {caller.id}"


async def lines(body: dict[str, int], found: Current) -> AsyncIterator[str]:
    yield found


def add_nested(app: FastAPI) -> None:
    router = APIRouter(prefix="/router")
    router.post("/{number}")(nested)
    app.include_router(router)
    app.post("/function/{number}")(nested)
    app.post("/behind/{number}")(behind_another)
    app.post("/object/{number}")(OneOf())
    app.post("/lines/{number}")(lines)
    app.get("/same-name/{number}")(same_name)


class Tenant(RequireScope):
    """An owner's own declaration, which finds something else than who is calling."""

    async def __call__(self, connection: HTTPConnection) -> str:  # type: ignore[override]
        await super().__call__(connection)
        return "a tenant"


async def same_name(caller: Annotated[str, Depends(Tenant("things:read"))], found: Current) -> str:
    return caller


KINDS = ["router", "function", "behind", "object", "lines"]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_nested), AUTH_CACHE_SECONDS="0")


@kinds
def test_nothing_of_a_strangers_body_is_read(client: TestClient, kind: str) -> None:
    read: list[str] = []

    async def receive() -> Message:
        read.append("a piece")
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def call() -> int:
        return await ask(client, f"/{kind}/7", receive, content_type="application/json", content_length="900000")

    assert client.portal is not None
    assert client.portal.call(call) == 401
    assert read == []


@kinds
def test_malformed_json_is_told_to_a_caller_who_may_alone(client: TestClient, as_caller: AsCaller, kind: str) -> None:
    other, reads = as_caller(scope="other:read"), as_caller(scope="things:read")

    assert [one.post(f"/{kind}/7", **MALFORMED).status_code for one in (client, other, reads)] == [401, 403, 400]


@kinds
def test_the_caller_is_verified_once_a_request(client: TestClient, as_caller: AsCaller, kind: str) -> None:
    caller = as_caller(scope="things:read")
    verified: list[str] = []

    async def count(connection: HTTPConnection, principal: Principal) -> None:
        verified.append(principal.name)

    client.app.state.credentials.on_identified.append(count)  # type: ignore[attr-defined]
    answer = caller.post(f"/{kind}/7", json={})

    assert f"7 of {caller.id}" in answer.text
    assert len(verified) == 1


def test_an_override_in_a_test_takes_the_place_of_the_caller(make_client: MakeClient) -> None:
    someone = Principal(UUID(int=7), "someone", "person", frozenset(), None, Credential("jwt", UUID(int=8), None))

    def build() -> FastAPI:
        app = assemble(add_nested)
        app.dependency_overrides[reader] = lambda: someone
        return app

    client = make_client(build=build)

    assert client.post("/function/7", json={}).json() == f"7 of {someone.id}"


class Lenient(RequireScope):
    """An owner's own, which knows from another dependency who needs not be known."""

    async def __call__(self, connection: HTTPConnection) -> Principal:
        if connection.scope["state"].get("is_open"):
            return Principal(UUID(int=7), "nobody", "person", frozenset(), None, Credential("none", UUID(int=8), None))
        return await super().__call__(connection)


def test_what_an_owner_asks_in_a_way_of_their_own_is_asked_in_its_place(make_client: MakeClient) -> None:
    async def look(connection: HTTPConnection, is_open: bool = False) -> None:
        connection.scope["state"]["is_open"] = is_open

    async def whoever(
        looked: Annotated[None, Depends(look)], one: Annotated[Principal, Depends(Lenient("things:read"))]
    ) -> str:
        return one.name

    async def answer(name: Annotated[str, Depends(whoever)]) -> str:
        return name

    def add(app: FastAPI) -> None:
        app.get("/lenient", dependencies=[public])(answer)

    client = make_client(build=lambda: assemble(add))

    assert client.get("/lenient", params={"is_open": "1"}).json() == "nobody"
    assert client.get("/lenient").status_code == 401


def test_whatever_an_owner_puts_around_a_route_answers_no_stranger(
    make_client: MakeClient, as_caller: AsCaller
) -> None:
    def add(app: FastAPI) -> None:
        app.post("/around/{number}")(nested)
        app.post("/limited/{number}", max_body_size=20)(nested)
        for route in app.routes[-2:]:
            route.app = Closed(route.app)  # type: ignore[attr-defined]
        own = APIRouter(route_class=ClosedRoute)
        own.get("/class/{number}", dependencies=[READ])(lambda: "")
        own.get("/open/{number}", dependencies=[public])(lambda: "")
        app.router.routes.extend(own.routes)

    client = make_client(build=lambda: assemble(add))
    calls = [("POST", "/around/7"), ("POST", "/limited/7"), ("GET", "/class/7"), ("GET", "/open/7")]

    def statuses(caller: TestClient) -> list[int]:
        return [caller.request(method, path).status_code for method, path in calls]

    assert statuses(client) == [401, 401, 401, 451]
    assert statuses(as_caller(scope="other:read", client=client)) == [403, 403, 403, 451]
    assert statuses(as_caller(scope="things:read", client=client)) == [451] * 4


def test_a_parameter_of_the_endpoint_holds_its_own_whatever_a_nested_one_of_its_name_found(
    client: TestClient, as_caller: AsCaller
) -> None:
    assert as_caller(client=client, scope="things:read").get("/same-name/7").json() == "a tenant"


async def whole(caller: Annotated[Principal, READ]) -> Any:
    return caller


def test_a_route_that_answers_with_its_caller_says_what_a_caller_is_and_no_more(
    make_client: MakeClient, as_caller: AsCaller
) -> None:
    client = make_client(build=lambda: assemble(lambda app: app.get("/whole")(whole)))

    said = as_caller(scope="things:read", client=client).get("/whole").json()

    assert set(said) == {"id", "name", "kind", "roles", "scopes", "credential"}
