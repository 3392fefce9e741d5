"""A handshake that goes wrong is answered like a request, and else the socket is closed."""

from typing import Any

import pytest
from fastapi import WebSocket
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from app.security.access.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.http.test_websockets import (
    refusal,
    sockets,  # noqa: F401
)
from tests.security.raw_asgi import nothing_more, scope_of


async def odd(socket: WebSocket, how: int) -> None:
    """Goes wrong before the handshake is answered, or after it."""
    if how == 1:
        raise TimeoutError
    if how == 2:
        return await socket.close(4001)
    await socket.accept()
    raise HTTPException(403)


@pytest.fixture
def going_wrong(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(lambda app: app.websocket("/odd", dependencies=[public])(odd)))


def test_a_refused_handshake_is_answered_like_a_request(going_wrong: TestClient) -> None:
    statuses = {"/nothing": 404, "/health/ready": 404, "/odd": 422, "/odd?how=1": 503, "/odd?how=2": 403}

    for path, status in statuses.items():
        answer = refusal(going_wrong, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_a_server_that_sends_no_answers_to_handshakes_closes_them(sockets: TestClient) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    assert sockets.portal is not None
    for path in ("/echo", "/nothing"):
        scope = scope_of(sockets, path, "GET") | {"type": "websocket", "scheme": "ws"}
        sockets.portal.call(sockets.app, scope, nothing_more, send)

    assert sent == [{"type": "websocket.close", "code": 1008}] * 2


def test_a_refusal_behind_the_handshake_closes_the_socket(
    going_wrong: TestClient, recorded: list[dict[str, Any]]
) -> None:
    with going_wrong.websocket_connect("/odd?how=3") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()

    assert closed.value.code == 1008
    assert [(fields["event"], fields["status"]) for fields in recorded] == [("request", 101)]
