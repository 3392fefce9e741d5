"""A route that ends itself gets an error response and is reported."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from app.security.access.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.http.test_headers import EXPECTED
from tests.security.raw_asgi import scope_of

Recorded = list[dict[str, Any]]

OPEN = [public]


async def exits() -> None:
    raise SystemExit(1)


async def cancels() -> None:
    task = asyncio.create_task(asyncio.sleep(9))
    task.cancel()
    await task


async def read(request: Request) -> bytes:
    return await request.body()


async def reads(body: Annotated[bytes, Depends(read)]) -> None: ...


def add_routes(app: FastAPI) -> None:
    app.get("/exits", dependencies=OPEN)(exits)
    app.get("/cancels", dependencies=OPEN)(cancels)
    app.post("/reads", dependencies=OPEN)(reads)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


def crashes(recorded: Recorded) -> list[str]:
    return [event["reason"] for event in recorded if event["event"] == "sys_crash"]


def test_a_client_that_leaves_while_its_body_is_read_is_no_crash(client: TestClient, recorded: Recorded) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None: ...

    async def call() -> None:
        await client.app(scope_of(client, "/reads", "POST", content_type="application/json"), receive, send)  # type: ignore[arg-type]

    assert client.portal is not None
    client.portal.call(call)

    assert crashes(recorded) == []


@pytest.mark.parametrize(("path", "reason"), [("/exits", "SystemExit"), ("/cancels", "CancelledError")])
def test_a_route_that_ends_itself_gets_an_error_response(
    client: TestClient, recorded: Recorded, path: str, reason: str
) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert crashes(recorded) == [reason]
