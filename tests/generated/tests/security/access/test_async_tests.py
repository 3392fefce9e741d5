"""Owners' `async def` tests: callers, async clients and overrides work in a running event loop."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from app.security.access.identity import Caller, public, require_scope
from tests.security.build_app import assemble
from tests.security.callers import AsCaller, asynchronous
from tests.security.fixtures import MakeClient

pytestmark = pytest.mark.anyio


def add_routes(app: FastAPI) -> None:
    @app.get("/known", dependencies=[require_scope("known:read")])
    async def known(caller: Caller) -> str:
        return caller.name

    @app.get("/open", dependencies=[public])
    async def opened() -> str:
        return "open"


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


async def test_a_caller_is_made_in_a_running_loop(as_caller: AsCaller) -> None:
    assert as_caller().get("/known").status_code == 200


async def test_an_async_client_calls_as_somebody_in_the_loop_of_the_app(
    as_caller: AsCaller, client: TestClient
) -> None:
    caller = as_caller(client=client)

    async with asynchronous(caller) as http, asynchronous(client) as nobody:
        answers = [await http.get("/known") for _ in range(3)]
        refused = await nobody.get("/known")

    assert [answer.json() for answer in answers] == [caller.name] * 3
    assert refused.status_code == 401


async def test_an_async_client_of_fastapis_documentation_reaches_the_app(client: TestClient) -> None:
    transport = ASGITransport(app=client.app)
    async with AsyncClient(transport=transport, base_url="http://test") as http:
        answer: Any = await http.get("/open")

    assert (answer.status_code, answer.json()) == (200, "open")


def test_an_overridden_caller_is_an_error_that_names_the_way(client: TestClient, capfd: Any) -> None:
    client.app.dependency_overrides[Caller] = lambda: None  # type: ignore[attr-defined]

    assert client.get("/known").status_code == 500
    out, err = capfd.readouterr()
    assert "dependency_overrides[Caller] has no effect: in tests call with as_caller(scope=" in out + err
