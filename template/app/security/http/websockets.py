"""WebSockets outlive what opened them: the caller is checked again and again, and messages are bounded.

A handshake that is refused is answered like a request (`errors.Refusal`), and one that was forgotten like a crash.
"""

import asyncio

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.security.access.credential_cache import CacheSettings
from app.security.access.credentials import identify_again
from app.security.admission.request_guard import RequestGuardSettings
from app.security.core.problems import POLICY_VIOLATION, Problem
from app.security.http.errors import report, respond

TOO_BIG, LOST = 1009, 1006  # RFC 6455 section 7.4.1
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
        if not (scope["state"]["context"].status or socket.ended):
            await _answer_for_it(scope, socket)

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


async def _answer_for_it(scope: Scope, socket: "_Socket") -> None:
    """The server answers a route that returned without a word, too, but barely; its log line of it is not shown."""
    error = RuntimeError("the route neither accepted nor closed the handshake")
    request_id = scope["state"]["context"].request_id
    await respond(report(error, request_id), request_id)(scope, socket.receive, socket.send)


class _Socket:
    """The two ends of a WebSocket, which we can close from our side.

    We may close it while its route still refuses or accepts it, and its client may leave at any moment: then there is
    nothing left to close, and who talks or listens to it gets Starlette's WebSocketDisconnect. Neither is a crash.
    """

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._closed = asyncio.Event()
        self._code = 1000
        self._connecting = True
        self._answering = False
        self.ended = False

    async def receive(self) -> Message:
        message = asyncio.ensure_future(self._receive())
        closed = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait((message, closed), return_when=asyncio.FIRST_COMPLETED)
            if not self._closed.is_set():
                if _bytes_of(message.result()) <= self._max_bytes:
                    return self._received(message.result())
                await self.close(TOO_BIG)
            if self._connecting:  # Starlette takes nothing else than a connect for the first message
                raise WebSocketDisconnect(self._code)
            return {"type": "websocket.disconnect", "code": self._code}
        finally:
            closed.cancel()
            message.cancel()

    def _received(self, message: Message) -> Message:
        self._connecting = False
        if message["type"] == "websocket.disconnect":
            self._end(message.get("code", LOST))
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self.ended and not (self._answering and kind == "websocket.http.response.body"):
            return self._to_nobody(kind)
        if kind in ("websocket.close", "websocket.http.response.start"):
            self.ended, self._answering = True, kind != "websocket.close"
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # the client has left
            # uvicorn raises a RuntimeError where it left while it was accepted; other messages cause it by themselves
            if isinstance(error, RuntimeError) and kind not in ("websocket.send", "websocket.close"):
                raise
            self._end(LOST)
            self._to_nobody(kind)

    def _end(self, code: int) -> None:
        self.ended, self._answering, self._code = True, False, code

    def _to_nobody(self, kind: str) -> None:
        if kind in ("websocket.accept", "websocket.send"):
            raise WebSocketDisconnect(self._code)

    async def close(self, code: int) -> None:
        self._code = code
        self._closed.set()
        await self.send({"type": "websocket.close", "code": code})


def _bytes_of(message: Message) -> int:
    text = message.get("text") or ""
    return len(message.get("bytes") or "") or len(text if text.isascii() else text.encode("utf-8", "surrogatepass"))


def install(app: FastAPI) -> None:
    seconds = max(CacheSettings.current().auth_cache_seconds, SHORTEST_INTERVAL)
    app.add_middleware(WebSocketGuard, seconds=seconds, max_bytes=RequestGuardSettings.current().max_body_bytes)
