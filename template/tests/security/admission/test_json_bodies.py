"""Ambiguous JSON is refused: another parser, such as a proxy's, may read another value (ASVS 5.0 V1.5.3, RFC 7493)."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, Request
from starlette.testclient import TestClient

from app.security.access.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

JSON = {"Content-Type": "application/json"}


def add_paths(app: FastAPI) -> None:
    router = APIRouter(prefix="/router")

    @app.post("/parsed", dependencies=[public])
    @router.post("/parsed", dependencies=[public])
    async def parsed(body: Annotated[Any, Body()]) -> Any:
        return body

    @app.post("/by-hand", dependencies=[public])
    async def by_hand(request: Request) -> Any:
        return await request.json()

    app.include_router(router)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_paths))


def test_a_member_that_is_named_twice_is_refused(client: TestClient) -> None:
    for path in ("/parsed", "/by-hand", "/router/parsed"):
        assert client.post(path, content=b'{"a": 1, "b": 1}', headers=JSON).status_code == 200, path
        assert client.post(path, content=b'{"a": 1, "a": 2}', headers=JSON).status_code == 400, path


def test_an_unpaired_surrogate_is_refused(client: TestClient) -> None:
    assert client.post("/parsed", content=rb'{"a": "\ud800"}', headers=JSON).status_code == 422
