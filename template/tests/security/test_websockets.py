"""A WebSocket is opened by someone who is known, stays open only as long as they are, and takes bounded messages."""

import contextlib
import time
from collections.abc import Callable

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.security.compose import fastapi_options, secure
from app.security.identity import Caller, require_scope
from tests.security.callers import AsCaller
from tests.security.fixtures import Database, MakeClient


@pytest.fixture
def sockets(environment: Callable[..., None], make_client: MakeClient) -> TestClient:
    """A service with a socket that says what it hears."""
    environment(AUTH_CACHE_SECONDS="1", MAX_BODY_BYTES="1024")
    app = FastAPI(**fastapi_options())

    @app.websocket("/echo", dependencies=[require_scope("echo:use")])
    async def echo(socket: WebSocket, caller: Caller) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.send_text(await socket.receive_text())

    secure(app)
    return make_client(app)


def closing_code(client: TestClient, path: str) -> int:
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(path):
        pass
    return closed.value.code


def test_nobody_opens_a_socket_unknown(sockets: TestClient) -> None:
    assert closing_code(sockets, "/echo") == 1008


def test_a_token_in_the_address_is_not_looked_at(sockets: TestClient, as_caller: AsCaller) -> None:
    sent = "&".join(f"{name}={value}" for name, value in as_caller(client=sockets).headers.items())

    assert closing_code(sockets, f"/echo?{sent}&access_token=x") == 1008


def test_a_foreign_host_opens_no_socket(sockets: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=sockets)
    caller.headers["Host"] = "evil.example.com"

    assert closing_code(caller, "/echo") == 1008


def test_who_is_known_is_heard(sockets: TestClient, as_caller: AsCaller) -> None:
    with as_caller(client=sockets).websocket_connect("/echo") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("message", ["x" * 1025, "é" * 513])
def test_a_message_that_is_too_large_closes_the_socket(sockets: TestClient, as_caller: AsCaller, message: str) -> None:
    with as_caller(client=sockets).websocket_connect("/echo") as socket:
        socket.send_text("é" * 512)
        assert socket.receive_text() == "é" * 512
        socket.send_text(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert closed.value.code == 1009


def test_who_is_disabled_loses_their_open_sockets(sockets: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=sockets)

    with caller.websocket_connect("/echo") as socket:
        time.sleep(1.2)
        socket.send_text("still here")
        assert socket.receive_text() == "still here"
        Database(sockets).rows("UPDATE accounts SET is_active = :no", no=False)
        started = time.monotonic()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert closed.value.code == 1008
    assert time.monotonic() - started < 2
