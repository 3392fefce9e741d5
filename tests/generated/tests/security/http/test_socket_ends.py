"""How a WebSocket ends that its route forgot, its client left or we closed; a crash is what is one."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from sqlalchemy import update
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Send

from app.security.access.identity import Caller, public, require_scope
from app.security.core.problems import Problem
from app.security.core.tables import Account
from app.security.http import websockets
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.core.test_crashes import crashes
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask, nothing_more, scope_of

Recorded = list[dict[str, Any]]
RECHECK_SECONDS = 0.05


async def forgotten(socket: WebSocket) -> None: ...


async def refused(socket: WebSocket) -> None:
    raise Problem(403)


async def closed(socket: WebSocket) -> None:
    await socket.close()


async def closed_and_refused(socket: WebSocket) -> None:
    await socket.close()
    raise Problem(401)


async def accepted(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")


async def slow(socket: WebSocket, caller: Caller, then: str) -> None:
    """Goes on when its caller has been disabled and we have closed the socket."""
    async with socket.app.state.database.begin() as session:
        await session.execute(update(Account).where(Account.id == caller.id).values(is_active=False))
    await asyncio.sleep(RECHECK_SECONDS * 8)
    if then == "accept":
        await socket.accept()
    if then == "deny":
        await socket.send_denial_response(PlainTextResponse("no", 409))
    if then == "refuse":
        raise Problem(409)


worked: list[str] = []


async def disabled_at_work(socket: WebSocket, caller: Caller) -> None:
    """Its caller is disabled, and goes on sending commands."""
    await socket.accept()
    async with socket.app.state.database.begin() as session:
        await session.execute(update(Account).where(Account.id == caller.id).values(is_active=False))
    while True:
        worked.append(await socket.receive_text())


async def ticker(socket: WebSocket) -> None:
    """Sends without ever waiting."""
    await socket.accept()
    for _ in range(5000):
        await socket.send_text("tick")


def add_routes(app: FastAPI) -> None:
    for endpoint in (forgotten, refused, closed, closed_and_refused, accepted, ticker):
        app.websocket(f"/{endpoint.__name__}", dependencies=[public])(endpoint)
    app.websocket("/slow", dependencies=[require_scope("slow:open")])(slow)
    app.websocket("/work", dependencies=[require_scope("slow:open")])(disabled_at_work)


@pytest.fixture
def sockets(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(websockets, "SHORTEST_INTERVAL", RECHECK_SECONDS)
    return make_client(build=lambda: assemble(add_routes), AUTH_CACHE_SECONDS="0")


async def connect() -> Message:
    return {"type": "websocket.connect"}


def talk(
    client: TestClient,
    path: str,
    send: Send,
    *,
    answers: bool = True,
    query: str = "",
    said: dict[str, str] | None = None,
) -> None:
    """A handshake with a server that may take answers to it; the test client would wait for one for ever."""
    extensions = {"websocket.http.response": {}} if answers else {}
    scope = scope_of(client, path, "GET", **(said or {})) | {
        "type": "websocket",
        "scheme": "ws",
        "extensions": extensions,
    }
    scope["query_string"] = query.encode()
    assert client.portal is not None
    client.portal.call(client.app, scope, connect, send)


def test_what_is_closed_already_is_not_refused_again(sockets: TestClient, recorded: Recorded) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    talk(sockets, "/closed_and_refused", send)

    assert [message.get("status") for message in sent] == [403, None]
    assert crashes(recorded) == []


@pytest.mark.parametrize("path", ["/refused", "/closed", "/accepted", "/nothing"])
@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_a_reset_connection_is_no_crash(
    sockets: TestClient, recorded: Recorded, path: str, error: type[Exception]
) -> None:
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if error is OSError or message["type"] in ("websocket.send", "websocket.close"):
            raise error

    talk(sockets, path, send, answers=error is OSError)

    assert crashes(recorded) == []
    assert len(sent) == len(set(sent)) <= 2


def test_a_client_that_takes_no_close_frame_is_not_served_until_it_does(
    sockets: TestClient, as_caller: AsCaller
) -> None:
    worked.clear()
    messages = iter([{"type": "websocket.connect"}])

    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return next(messages, {"type": "websocket.receive", "text": "work"})

    async def send(message: Message) -> None:
        if message["type"] == "websocket.close":
            await asyncio.sleep(3)  # the client reads nothing

    names = as_caller(scope="slow:open", client=sockets).headers
    said = {name.replace("-", "_"): names[name] for name in ("authorization", "x-api-key") if name in names}
    scope = scope_of(sockets, "/work", "GET", **said) | {"type": "websocket", "scheme": "ws", "extensions": {}}
    assert sockets.portal is not None
    sockets.portal.call(sockets.app, scope, receive, send)

    assert len(worked) < 30


def test_a_socket_that_sends_without_waiting_leaves_the_process_to_others(sockets: TestClient) -> None:
    async def send(message: Message) -> None: ...

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def turns_of_others() -> int:
        scope = scope_of(sockets, "/ticker", "GET") | {"type": "websocket", "scheme": "ws", "extensions": {}}
        socket, turns = asyncio.ensure_future(sockets.app(scope, receive, send)), 0  # type: ignore[arg-type]
        while not socket.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert sockets.portal is not None
    assert sockets.portal.call(turns_of_others) > 1000


@pytest.mark.parametrize("then", ["accept", "deny", "refuse", "return"])
def test_a_route_may_go_on_when_its_caller_has_ended(
    sockets: TestClient, as_caller: AsCaller, recorded: Recorded, then: str
) -> None:
    sent: list[str] = []

    async def send(message: Message) -> None:
        assert "websocket.http.response.body" not in sent, "a server takes nothing behind an answer"
        sent.append(message["type"])

    names = as_caller(scope="slow:open", client=sockets).headers
    said = {name.replace("-", "_"): names[name] for name in ("authorization", "x-api-key") if name in names}
    talk(sockets, "/slow", send, query=f"then={then}", said=said)

    assert sent == ["websocket.http.response.start", "websocket.http.response.body"]
    assert crashes(recorded) == []


def test_an_http_method_of_that_name_finds_no_websocket_route(make_client: MakeClient, recorded: Recorded) -> None:
    client = make_client(build=lambda: assemble(lambda app: app.websocket("/feed", dependencies=[public])(closed)))
    assert client.portal is not None

    status = client.portal.call(ask, client, "/feed", nothing_more, "WEBSOCKET")

    assert (status, [event["route"] for event in recorded if event["event"] == "request"]) == (404, [None])


@pytest.mark.parametrize("denied", [False, True])
def test_a_socket_that_a_later_route_answers_is_a_crash(
    make_client: MakeClient, recorded: Recorded, denied: bool
) -> None:
    def add_socket(app: FastAPI) -> None:
        app.websocket("/socket", dependencies=[public])(closed)

    client = make_client(build=lambda: assemble(add_socket))
    app: FastAPI = client.app  # type: ignore[assignment]

    async def late(socket: WebSocket) -> None:
        await (socket.send_denial_response(PlainTextResponse("late")) if denied else socket.accept())

    app.websocket("/socket")(late)
    app.router.routes.insert(0, app.router.routes.pop())

    sent: list[Message] = []

    async def connect() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    extensions: dict[str, Any] = {"extensions": {"websocket.http.response": {}}, "subprotocols": []}
    assert client.portal is not None
    client.portal.call(app, scope_of(client, "/socket", "GET") | {"type": "websocket"} | extensions, connect, send)

    assert [message.get("status") for message in sent[:1]] == [500]
    assert [fields["reason"] for fields in recorded if fields["event"] == "sys_crash"] == ["InsecureApp"]
