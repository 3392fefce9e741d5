"""WebSockets outlive what opened them: the caller is checked again and again, and messages are bounded.

A handshake that is refused is answered like a request (`errors.Refusal`).
"""

import asyncio

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.credential_cache import CacheSettings
from app.security.credentials import identify_again
from app.security.errors import respond
from app.security.problems import POLICY_VIOLATION, Problem
from app.security.request_guard import RequestGuardSettings

TOO_BIG = 1009  # RFC 6455 section 7.4.1
SHORTEST_INTERVAL = 1.0


class WebSocketGuard:
    def __init__(self, app: ASGIApp, seconds: float, max_bytes: int) -> None:
        self.app = app
        self.seconds = seconds
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return await self.app(scope, receive, send)
        socket = _Socket(receive, _answering(scope, receive, send), self.max_bytes)
        watch = asyncio.create_task(self._watch(HTTPConnection(scope), socket))
        try:
            await self.app(scope, socket.receive, socket.send)
        finally:
            watch.cancel()

    async def _watch(self, connection: HTTPConnection, socket: "_Socket") -> None:
        while True:
            await asyncio.sleep(self.seconds)
            principal = connection.scope["state"].get("principal")
            if principal is None:
                continue  # a public socket, or one that is still being accepted
            try:
                unchanged = await identify_again(connection) == principal
            except Exception:  # refused, or it cannot be known: then it is not allowed either
                unchanged = False
            if not unchanged:  # it may have been opened with a role that is gone
                return await socket.close(POLICY_VIOLATION)


def _answering(scope: Scope, receive: Receive, send: Send) -> Send:
    """A handshake that routing or a route only closes is told why, as far as that is known."""
    context = scope["state"]["context"]

    async def sender(message: Message) -> None:
        if message["type"] != "websocket.close" or context.status:
            return await send(message)
        problem = Problem(404 if context.route is None else 403)
        await respond(problem, context.request_id)(scope, receive, send)

    return sender


class _Socket:
    """The two ends of a WebSocket, which we can close from our side."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._closed = asyncio.Event()
        self._code = 1000

    async def receive(self) -> Message:
        message = asyncio.ensure_future(self._receive())
        closed = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait((message, closed), return_when=asyncio.FIRST_COMPLETED)
            if not self._closed.is_set():
                if _bytes_of(message.result()) <= self._max_bytes:
                    return message.result()
                await self.close(TOO_BIG)
            return {"type": "websocket.disconnect", "code": self._code}
        finally:
            closed.cancel()
            message.cancel()

    async def send(self, message: Message) -> None:
        if self._closed.is_set():
            raise OSError("this socket was closed")  # Starlette makes a WebSocketDisconnect of it
        await self._send(message)

    async def close(self, code: int) -> None:
        self._code = code
        self._closed.set()
        await self._send({"type": "websocket.close", "code": code})


def _bytes_of(message: Message) -> int:
    text = message.get("text") or ""
    return len(message.get("bytes") or "") or len(text if text.isascii() else text.encode("utf-8", "surrogatepass"))


def install(app: FastAPI) -> None:
    seconds = max(CacheSettings.current().auth_cache_seconds, SHORTEST_INTERVAL)
    app.add_middleware(WebSocketGuard, seconds=seconds, max_bytes=RequestGuardSettings.current().max_body_bytes)
