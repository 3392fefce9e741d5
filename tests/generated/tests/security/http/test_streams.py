"""A stream that never waits leaves the process to others, and ends when its client has left."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient
from starlette.types import Message

from app.security.access.identity import Caller, public, require_scope
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import scope_of

LINES = 20_000
made: list[int] = []


async def lines() -> AsyncIterator[bytes]:
    for number in range(LINES):
        made.append(number)
        yield b"line\n"


def add(app: FastAPI) -> None:
    @app.get("/export", dependencies=[public])
    async def export() -> StreamingResponse:
        return StreamingResponse(lines())


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add))


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_export_ends_soon_after_its_client_has_left(client: TestClient, method: str) -> None:
    made.clear()
    sent: list[Message] = []

    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:  # as uvicorn's does where nobody reads any more: it never waits
        sent.append(message)

    async def ask() -> None:
        await client.app(scope_of(client, "/export", method), leave, send)  # type: ignore[arg-type]

    assert client.portal is not None
    client.portal.call(ask)

    assert sent[0]["status"] == 200
    assert len(made) < 100


@pytest.mark.parametrize("name", ["Cache-Control", "CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires"])
def test_a_route_that_allows_caching_keeps_callers_apart(
    make_client: MakeClient, as_caller: AsCaller, name: str
) -> None:
    def add_cached(app: FastAPI) -> None:
        @app.get("/mine", dependencies=[require_scope("mine:read")])
        async def mine(caller: Caller) -> Response:
            return Response(caller.name, headers={name: "max-age=60"})

    caller = as_caller(scope="mine:read", client=make_client(build=lambda: assemble(add_cached)))

    assert "Authorization, X-API-Key" in caller.get("/mine").headers.get_list("vary")
