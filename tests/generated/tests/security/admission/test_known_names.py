"""An answer says where a request is wrong by the names that the route gave, and never by one that its sender chose."""

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from fastapi import Body, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    ImportString,
    TypeAdapter,
    ValidationError,
)
from starlette.testclient import TestClient
from typing_extensions import TypedDict

from app.security.access.identity import public
from app.security.http.errors import DEEPEST_POINTER
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

CANARY = "canary-7f3a"


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: int


class Square(BaseModel):
    kind: Literal["square"]
    side: int


class Point(TypedDict):
    latitude: float


class Node(BaseModel):
    child: "Node | None" = None


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    counts: dict[str, int] = {}
    numbered: dict[int, int] = {}
    points: dict[str, Point] = {}
    rows: list[Point] = []
    shape: Annotated[Circle | Square | None, Field(discriminator="kind")] = None
    nodes: Node | None = None
    camel: int = Field(0, alias="camelCase")
    either: int = Field(0, validation_alias=AliasChoices("one", AliasPath("other", "inside")))


class Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = 0


def add_paths(app: FastAPI) -> None:
    @app.post("/orders/{number}", dependencies=[public])
    async def order(
        number: int, body: Order, asked: Annotated[Filter, Query()], x_count: Annotated[int, Header()] = 0
    ) -> None: ...

    @app.post("/counts", dependencies=[public])
    async def counts(body: dict[str, int]) -> None: ...

    @app.post("/by-hand", dependencies=[public])
    async def by_hand(request: Request) -> None:
        try:
            TypeAdapter(dict[str, int]).validate_json(await request.body())
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None

    @app.post("/quoting", dependencies=[public])
    async def quoting(
        zone: ZoneInfo | None = None, size: ByteSize | None = None, found: ImportString[Any] = None
    ) -> None: ...

    @app.post("/two", dependencies=[public])
    async def two(order: Order, more: Annotated[int, Body()]) -> None: ...


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_paths))


def pointers(client: TestClient, path: str, **options: Any) -> list[str]:
    answer = client.post(path, **options)

    assert answer.status_code == 422
    assert CANARY not in answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


BODIES: list[tuple[Any, str]] = [
    ({"counts": {CANARY: "x"}}, "/body/counts"),
    ({"numbered": {"7": "x"}}, "/body/numbered"),
    ({"numbered": {CANARY: 1}}, "/body/numbered"),
    ({"points": {CANARY: {"latitude": "x"}}}, "/body/points"),
    ({"rows": [{"latitude": 1}, {"latitude": "x"}]}, "/body/rows/1/latitude"),
    ({"rows": [{}]}, "/body/rows/0/latitude"),
    ({"shape": {"kind": "circle", "radius": "x"}}, "/body/shape"),
    ({"camelCase": "x"}, "/body/camelCase"),
    ({"one": "x"}, "/body/one"),
    ({"other": {"inside": "x"}}, "/body"),
    ({CANARY: "x"}, "/body"),
    ({"nodes": {"child": {"child": CANARY}}}, "/body/nodes/child/child"),
]


@pytest.mark.parametrize(("body", "pointer"), BODIES)
def test_the_pointer_names_members_of_the_model_and_no_keys_of_a_mapping(
    client: TestClient, body: Any, pointer: str
) -> None:
    assert pointers(client, "/orders/1", json=body) == [pointer]


def test_a_mapping_alone_tells_no_key(client: TestClient) -> None:
    assert pointers(client, "/counts", json={CANARY: "x", "counts": "x"}) == ["/body", "/body"]


def test_the_pointer_names_parameters(client: TestClient) -> None:
    headers = {"X-Count": "x"}

    found = pointers(client, f"/orders/x?limit=x&{CANARY}=1", json={}, headers=headers)

    assert sorted(found) == ["/header/x-count", "/path/number", "/query", "/query/limit"]


def test_the_pointer_names_one_of_several_bodies(client: TestClient) -> None:
    body = {"order": {"counts": {CANARY: "x"}}, "more": "x"}

    assert pointers(client, "/two", json=body) == ["/body/order/counts", "/body/more"]


def test_what_an_endpoint_finds_wrong_itself_tells_no_key_either(client: TestClient) -> None:
    assert pointers(client, "/by-hand", json={CANARY: "x"}) == ["/"]


@pytest.mark.parametrize(("name", "value"), [("zone", CANARY), ("size", "1canary"), ("found", CANARY)])
def test_a_type_that_quotes_what_it_was_given_does_not(client: TestClient, name: str, value: str) -> None:
    answer = client.post(f"/quoting?{name}={value}")

    assert answer.status_code == 422
    assert "canary" not in answer.text


def test_a_pointer_ends_somewhere(client: TestClient) -> None:
    nodes: Any = 1
    for _ in range(100):
        nodes = {"child": nodes}

    (found,) = pointers(client, "/orders/1", json={"nodes": nodes})

    assert len(found.split("/")) == DEEPEST_POINTER + 1
