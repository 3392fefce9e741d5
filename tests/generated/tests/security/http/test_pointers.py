"""An answer says where a request is wrong: without the value, and without the name of an undeclared member."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI, Header, Query
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ImportString
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.http.errors import LONGEST_POINTER
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

CANARY = "canary-7f3a"


class Node(BaseModel):
    model_config = ConfigDict(extra="forbid")

    child: "Node | None" = None


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    counts: dict[str, int] = {}
    rows: list[Node] = []
    nodes: Node | None = None
    camel: int = Field(0, alias="camelCase")


class Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = 0


def add_paths(app: FastAPI) -> None:
    @app.post("/orders/{number}", dependencies=[public])
    async def order(
        number: int, body: Order, asked: Annotated[Filter, Query()], x_count: Annotated[int, Header()] = 0
    ) -> None: ...

    @app.post("/quoting", dependencies=[public])
    async def quoting(
        zone: ZoneInfo | None = None, size: ByteSize | None = None, found: ImportString[Any] = None
    ) -> None: ...


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_paths))


def pointers(client: TestClient, path: str, **options: Any) -> list[str]:
    answer = client.post(path, **options)

    assert answer.status_code == 422
    assert CANARY not in answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


BODIES: list[tuple[Any, str]] = [
    ({"counts": {"seven": CANARY}}, "/body/counts/seven"),
    ({"rows": [{}, {CANARY: 1}]}, "/body/rows/1"),
    ({"camelCase": CANARY}, "/body/camelCase"),
    ({CANARY: "x"}, "/body"),
    ({"nodes": {"child": {"child": CANARY}}}, "/body/nodes/child/child"),
]


@pytest.mark.parametrize(("body", "pointer"), BODIES)
def test_the_pointer_names_no_undeclared_member(client: TestClient, body: Any, pointer: str) -> None:
    assert pointers(client, "/orders/1", json=body) == [pointer]


def test_the_pointer_names_parameters(client: TestClient) -> None:
    headers = {"X-Count": "x"}

    found = pointers(client, f"/orders/x?limit=x&{CANARY}=1", json={}, headers=headers)

    assert sorted(found) == ["/header/x-count", "/path/number", "/query", "/query/limit"]


@pytest.mark.parametrize(("name", "value"), [("zone", CANARY), ("size", "1canary"), ("found", CANARY)])
def test_a_type_that_quotes_what_it_was_given_does_not(client: TestClient, name: str, value: str) -> None:
    answer = client.post(f"/quoting?{name}={value}")

    assert answer.status_code == 422
    assert "canary" not in answer.text


def test_a_pointer_ends_somewhere(client: TestClient) -> None:
    (found,) = pointers(client, "/orders/1", json={"counts": {"k" * 10_000: "x"}})

    assert len(found) == LONGEST_POINTER
