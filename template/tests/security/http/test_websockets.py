"""A WebSocket is opened by someone who is known, stays open only as long as they are, and takes bounded messages."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from app.security.access.identity import Caller, require_scope
from app.security.compose import fastapi_options, secure
from tests.security.callers import AsCaller
from tests.security.fixtures import Database, MakeClient
from tests.security.http.test_headers import EXPECTED


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


def refusal(client: TestClient, path: str) -> WebSocketDenialResponse:
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path):
        pass
    return refused.value


def test_an_unauthenticated_handshake_is_refused(sockets: TestClient, recorded: list[dict[str, Any]]) -> None:
    answer = refusal(sockets, "/echo")

    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"].endswith('realm="api"')
    assert answer.json()["instance"] == f"urn:request:{answer.headers['x-request-id']}"
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    found = [(fields["route"], fields["reason"], fields["status"]) for fields in recorded]
    assert found == [("/echo", "no_credential", 401)]


@pytest.mark.slow
def test_a_handshake_without_the_scope_is_refused_and_names_it(
    sockets: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    answer = refusal(as_caller(scope="echo:other", client=sockets), "/echo")

    assert answer.status_code == 403
    assert 'scope="echo:use"' in answer.headers["www-authenticate"]
    assert [fields["event"] for fields in recorded][-2:] == ["authz_fail", "request"]


@pytest.mark.slow
def test_a_token_in_the_address_is_not_looked_at(sockets: TestClient, as_caller: AsCaller) -> None:
    sent = "&".join(f"{name}={value}" for name, value in as_caller(client=sockets).headers.items())

    assert refusal(sockets, f"/echo?{sent}&access_token=x").status_code == 401


@pytest.mark.slow
def test_a_foreign_host_opens_no_socket(sockets: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=sockets)
    caller.headers["Host"] = "evil.example.com"

    assert refusal(caller, "/echo").status_code == 400


def test_a_page_of_a_foreign_origin_opens_no_socket(
    sockets: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    caller = as_caller(client=sockets)

    for origin in ("https://evil.example.com", "http://testserver.evil.example.com", "https://testserver", "null"):
        caller.headers["Origin"] = origin
        assert refusal(caller, "/echo").status_code == 403, origin
    assert [fields["event"] for fields in recorded][-5:] == ["malicious_cors", *(["request"] * 4)]


@pytest.mark.slow
def test_a_page_of_the_service_or_of_an_allowed_origin_opens_a_socket(sockets: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=sockets)
    sockets.app.state.cors_origins = ["https://app.example.com"]  # type: ignore[attr-defined]

    for origin in ("http://testserver", "https://app.example.com"):
        caller.headers["Origin"] = origin
        with caller.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"


@pytest.mark.slow
def test_an_authenticated_caller_opens_a_socket(sockets: TestClient, as_caller: AsCaller) -> None:
    with as_caller(client=sockets).websocket_connect("/echo") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"


@pytest.mark.slow
@pytest.mark.parametrize("message", ["é" * 513, "x" * 1025])
def test_a_message_that_is_too_large_closes_the_socket(sockets: TestClient, as_caller: AsCaller, message: str) -> None:
    with as_caller(client=sockets).websocket_connect("/echo") as socket:
        socket.send_text("é" * 512)
        assert socket.receive_text() == "é" * 512
        socket.send_text(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert closed.value.code == 1009


def talk(socket: WebSocketTestSession, seconds: float) -> None:
    """A socket that is never closed ends the test all the same."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        time.sleep(0.05)
        socket.send_text("still here")
        socket.receive_text()


def test_a_revocation_in_this_process_closes_the_socket_at_once(sockets: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=sockets)

    with caller.websocket_connect("/echo") as socket:
        socket.send_text("hello")
        socket.receive_text()
        Database(sockets).rows("UPDATE accounts SET is_active = :no", no=False)
        assert sockets.portal is not None
        sockets.portal.call(sockets.app.state.credentials.cache.forget, caller.id)  # type: ignore[attr-defined]
        with pytest.raises(WebSocketDisconnect) as closed:
            talk(socket, seconds=0.5)

    assert closed.value.code == 1008


@pytest.mark.slow
def test_disabling_an_account_closes_its_open_sockets(sockets: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=sockets)

    with caller.websocket_connect("/echo") as socket:
        time.sleep(1.2)
        socket.send_text("still here")
        assert socket.receive_text() == "still here"
        Database(sockets).rows("UPDATE accounts SET is_active = :no", no=False)
        with pytest.raises(WebSocketDisconnect) as closed:
            talk(socket, seconds=2)

    assert closed.value.code == 1008
