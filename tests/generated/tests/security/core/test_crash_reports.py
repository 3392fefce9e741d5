"""Crashes, cancelled requests and abandoned WebSockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.security.access.identity import public
from app.security.compose import fastapi_options
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask, nothing_more

Recorded = list[dict[str, Any]]

OPEN = [public]


async def waits() -> None:
    await asyncio.sleep(9)


async def raises() -> None:
    raise RuntimeError("a secret")


async def half() -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "half of "
        await raises()

    return StreamingResponse(pieces())


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await raises()


def add_routes(app: FastAPI) -> None:
    below = FastAPI(**fastapi_options())
    app.post("/waits", dependencies=OPEN)(waits)
    app.websocket("/socket", dependencies=OPEN)(socket)
    below.get("/raises", dependencies=OPEN)(raises)
    below.get("/half", dependencies=OPEN)(half)
    app.mount("/below", below)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


def crashes(recorded: Recorded) -> list[str]:
    return [event["reason"] for event in recorded if event["event"] == "sys_crash"]


def test_a_cancelled_request_is_no_crash(client: TestClient, recorded: Recorded) -> None:
    async def give_up() -> bool:
        asking = asyncio.create_task(ask(client, "/waits", nothing_more))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait([asking])
        return asking.cancelled()

    assert client.portal is not None
    assert client.portal.call(give_up)
    assert crashes(recorded) == []


def test_a_complete_response_of_a_mounted_app_stands(client: TestClient, recorded: Recorded) -> None:
    server = TestClient(client.app, base_url="http://localhost")  # it raises what a server would see

    assert server.get("/below/raises").status_code == 500
    assert crashes(recorded) == ["RuntimeError"]
    with pytest.raises(RuntimeError):
        server.get("/below/half")


def test_a_socket_that_crashes_is_reported(
    client: TestClient, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    with client.websocket_connect("/socket") as opened:
        opened.send_text("go")
        with pytest.raises(WebSocketDisconnect) as closed:
            opened.receive_text()

    assert closed.value.code == 1011
    assert crashes(recorded) == ["RuntimeError"]
    assert "a secret" in capsys.readouterr().out


def test_a_client_that_leaves_a_socket_is_no_crash(client: TestClient, recorded: Recorded) -> None:
    with client.websocket_connect("/socket"):
        pass

    assert crashes(recorded) == []
