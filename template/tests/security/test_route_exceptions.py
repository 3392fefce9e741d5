"""What one route declares holds for it alone: its parameters, and what it was allowed beyond the rest."""

from typing import Annotated

import pytest
from fastapi import FastAPI, Query

from app.security.identity import public
from app.security.request_guard import accepts
from tests.security.assembled import assemble
from tests.security.fixtures import MakeClient


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1&limit=100", 422),
        ("limit=1&other=2&%6cimit=3", 422),
        ("limit=1&limit", 422),
        ("limit=1&tag=a&tag=b", 200),
        ("limit=1&unknown=1&unknown=2", 200),
    ],
)
def test_a_parameter_that_stands_once_is_not_repeated(make_client: MakeClient, query: str, status: int) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/search", dependencies=[public])
        async def search(limit: int = 0, tag: Annotated[list[str] | None, Query()] = None) -> int:
            return limit

    answer = make_client(build=lambda: assemble(add)).get(f"/search?{query}")

    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"] == [{"pointer": "/query/limit", "detail": "is repeated", "code": "repeated"}]
        assert answer.headers["content-type"] == "application/problem+json"


def test_what_one_route_was_allowed_no_earlier_one_is(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/files/fixed", dependencies=[public])
        async def fixed(body: dict[str, int]) -> None: ...

        @app.post("/files/{name}", dependencies=[public, accepts("text/csv")])
        async def upload(name: str) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert client.post("/files/fixed", content=b"x", headers={"Content-Type": "text/csv"}).status_code == 415
    assert client.post("/files/fixed", json={"a": 1}).status_code == 200
    assert client.post("/files/other", content=b"x", headers={"Content-Type": "text/csv"}).status_code == 200
