"""WebSockets: the Origin of a handshake is checked, messages are bounded, and a socket ends with its caller.

A socket outlives the check that opened it, so its caller is verified again every AUTH_CACHE_SECONDS, and at once when
something of the account is revoked in this process. Rate limits count handshakes, not messages.

A page can set no header, so it sends its access token as a subprotocol: `new WebSocket(url, ["bearer", token])`. The
query string, which proxies log, is not read.
"""

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.security.access.credentials import CacheSettings, context_in, credentials_of, happens
from app.security.access.identity import verify
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import POLICY_VIOLATION, Problem
from app.security.http.errors import respond

MESSAGE_TOO_BIG = 1009  # RFC 6455 section 7.4.1
SHORTEST_INTERVAL = CLOSE_SECONDS = 1.0
SUBPROTOCOL = "bearer"
_OFFERED = b"sec-websocket-protocol"


def read_subprotocol(scope: Scope) -> None:
    """Move the token behind the subprotocol "bearer" to Authorization, which nobody logs. Raises: Problem 400."""
    offered = list(scope.get("subprotocols") or ())
    if SUBPROTOCOL not in offered[:-1]:
        return
    if not all(map(str.isascii, offered)):
        raise Problem(400, detail="A subprotocol is not valid.")
    token = offered.pop(offered.index(SUBPROTOCOL) + 1)
    kept = [header for header in scope["headers"] if header[0] != _OFFERED]
    moved = {_OFFERED: ", ".join(offered), b"authorization": f"Bearer {token}"}
    scope["subprotocols"] = offered
    scope["headers"] = [*kept, *((name, value.encode()) for name, value in moved.items())]


class WebSocketGuard:
    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.seconds = max(CacheSettings.current().auth_cache_seconds, SHORTEST_INTERVAL)
        self.max_bytes = max_bytes
        self.reported = OnceAMinute()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_origin(scope)
        socket = _Socket(scope, receive, send, self.max_bytes)
        route = asyncio.ensure_future(self.app(scope, socket.receive, socket.send))
        revoked = asyncio.create_task(self._revoked(HTTPConnection(scope), socket))
        try:
            await asyncio.wait({route, revoked}, return_when=asyncio.FIRST_COMPLETED)
            if not route.done():
                route.cancel()  # first: a client that reads nothing never takes the close frame
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(socket.close(POLICY_VIOLATION), CLOSE_SECONDS)
            await route
        except (asyncio.CancelledError, WebSocketDisconnect):
            if not socket.closed:
                raise
        finally:
            revoked.cancel()
            route.cancel()

    def _check_origin(self, scope: Scope) -> None:
        """No CORS protects WebSockets: a page of any origin may open one (ASVS 5.0 V4.4.2). Raises: Problem 403."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        own = f"{'https' if scope['scheme'] == 'wss' else 'http'}://{headers.get('host')}"
        if origin not in (None, own) and origin not in getattr(context_in(scope).app.state, "cors_origins", ()):
            self.reported.record(context_in(scope).client_ip, Event.MALICIOUS_CORS, reason="websocket_origin")
            raise Problem(403, detail="No page of this origin may open a WebSocket.")

    async def _revoked(self, connection: HTTPConnection, socket: "_Socket") -> None:
        """Returns when the credential is invalid by now, or the caller lost a role or a scope."""
        context, cache = context_in(connection.scope), credentials_of(connection).cache
        await happens(socket.accepted, self.seconds)
        while True:
            principal = context.principal
            await cache.revoked(principal.id if principal else None, self.seconds)
            if principal is None:
                continue  # a public socket, or a handshake that is not accepted yet
            try:
                if (await verify(connection))[0] != principal:
                    return
            except Exception:  # refused, or it cannot be checked
                return


class _Socket:
    """`receive` and `send` of a WebSocket that the guard may close."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self.accepted = asyncio.Event()
        self.closed = False

    async def receive(self) -> Message:
        message = await self._receive()
        if self.closed:
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
        text = message.get("text") or ""
        if len(message.get("bytes") or text.encode("utf-8", "surrogatepass")) > self._max_bytes:
            await self.close(MESSAGE_TOO_BIG)
            return {"type": "websocket.disconnect", "code": MESSAGE_TOO_BIG}
        return message

    async def send(self, message: Message) -> None:
        if self.closed:
            raise WebSocketDisconnect
        if message["type"] == "websocket.close":
            return await self.close(message["code"])
        if message["type"] == "websocket.accept" and SUBPROTOCOL in self._scope.get("subprotocols", ()):
            # A browser closes a socket whose server selects none of the subprotocols that it offered.
            message = {**message, "subprotocol": message.get("subprotocol") or SUBPROTOCOL}
        await self._to_client(message)
        self.accepted.set()

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
        except (OSError, RuntimeError):  # servers raise these when the client has left
            self.closed = True
            raise WebSocketDisconnect from None
