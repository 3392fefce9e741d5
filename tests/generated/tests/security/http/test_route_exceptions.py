"""What one route declares holds for it alone: its parameters, and what it was allowed beyond the rest."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Query
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from app.security.access.identity import public
from app.security.admission.request_guard import accepts
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


class Page(BaseModel):
    model_config = ConfigDict(validate_by_name=True)

    limit: int = 0
    after: str = Field("", alias="page[after]")
    size: int = Field(0, validation_alias="per-page")
    order: str = Field("", validation_alias=AliasChoices("order", "sort"))
    tag: list[str] = []


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


@pytest.mark.parametrize("path", ["/pages", "/pages/below"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        *[(f"{name}=1&{name}=2", 422) for name in ("limit", "page[after]", "page%5Bafter%5D", "per-page", "order")],
        ("limit=1&tag=a&tag=b&unknown=1&unknown=2", 200),
    ],
)
def test_a_parameter_that_a_model_names_is_not_repeated(
    make_client: MakeClient, path: str, query: str, status: int
) -> None:
    def page_of(page: Annotated[Page, Query()]) -> Page:
        return page

    def add(app: FastAPI) -> None:
        @app.get("/pages", dependencies=[public])
        async def pages(page: Annotated[Page, Query()]) -> None: ...

        @app.get("/pages/below", dependencies=[public])
        async def below(page: Annotated[Page, Depends(page_of)]) -> None: ...

    assert make_client(build=lambda: assemble(add)).get(f"{path}?{query}").status_code == status


def test_a_repeated_parameter_is_written_down_once(make_client: MakeClient, recorded: list[dict[str, Any]]) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/search", dependencies=[public])
        async def search(limit: int = 0) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert [client.get("/search?limit=1&limit=2").status_code for _ in range(3)] == [422] * 3
    assert [found["event"] for found in recorded].count("input_validation_fail") == 1


def test_a_media_type_is_the_same_in_any_case(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/files", dependencies=[public, accepts("Text/CSV")])
        async def upload() -> None: ...

    client = make_client(build=lambda: assemble(add))

    for sent in ("text/csv", "Text/CSV", "TEXT/CSV; charset=utf-8"):
        assert client.post("/files", content=b"x", headers={"Content-Type": sent}).status_code == 200


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
