"""WebSockets outlive the check that opened them: the caller is verified again and again, and messages are bounded."""

import asyncio

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.security.access.context import context_in
from app.security.access.credentials import CacheSettings, identify_again
from app.security.admission.request_guard import RequestGuardSettings
from app.security.core.problems import POLICY_VIOLATION, Problem
from app.security.http.errors import respond

MESSAGE_TOO_BIG = 1009  # RFC 6455 section 7.4.1
SHORTEST_INTERVAL = 1.0


class WebSocketGuard:
    def __init__(self, app: ASGIApp, seconds: float, max_bytes: int) -> None:
        self.app = app
        self.seconds = seconds
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return await self.app(scope, receive, send)
        socket = _Socket(scope, receive, send, self.max_bytes)
        route = asyncio.ensure_future(self.app(scope, socket.receive, socket.send))
        revoked = asyncio.create_task(self._revoked(HTTPConnection(scope)))
        try:
            await asyncio.wait({route, revoked}, return_when=asyncio.FIRST_COMPLETED)
            if not route.done():
                await socket.close(POLICY_VIOLATION)
                route.cancel()
            await route
        except (asyncio.CancelledError, WebSocketDisconnect):
            if not socket.closed:
                raise
        finally:
            revoked.cancel()
            route.cancel()

    async def _revoked(self, connection: HTTPConnection) -> None:
        """Returns when the caller is no longer who was let in: disabled, logged out, or without a role they had."""
        while True:
            await asyncio.sleep(self.seconds)
            principal = context_in(connection.scope).principal
            if principal is None:
                continue  # a public socket, or one that is still being admitted
            try:
                if await identify_again(connection) != principal:
                    return
            except Exception:  # refused, or it cannot be known
                return


class _Socket:
    """The two ends of a WebSocket that may be closed from our side."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self.closed = False

    async def receive(self) -> Message:
        message = await self._receive()
        if _size(message) > self._max_bytes:
            await self.close(MESSAGE_TOO_BIG)
            return {"type": "websocket.disconnect", "code": MESSAGE_TOO_BIG}
        return message

    async def send(self, message: Message) -> None:
        if self.closed:
            raise WebSocketDisconnect
        if message["type"] == "websocket.close":
            return await self.close(message["code"])
        await self._to_client(message)

    async def close(self, code: int) -> None:
        """A handshake that has not been accepted is refused with a problem document instead."""
        self.closed = True
        context = context_in(self._scope)
        if context.status:
            return await self._to_client({"type": "websocket.close", "code": code})
        await respond(Problem(403), context.request_id)(self._scope, self._receive, self._to_client)

    async def _to_client(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError):  # how servers say that the client has left, which is no crash
            self.closed = True
            raise WebSocketDisconnect from None


def _size(message: Message) -> int:
    return len(message.get("bytes") or b"") or len((message.get("text") or "").encode("utf-8", "surrogatepass"))


def install(app: FastAPI) -> None:
    seconds = max(CacheSettings.current().auth_cache_seconds, SHORTEST_INTERVAL)
    app.add_middleware(WebSocketGuard, seconds=seconds, max_bytes=RequestGuardSettings.current().max_body_bytes)
