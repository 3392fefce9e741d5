"""The outermost layer: a request id for every request, and one access event when it has been answered."""

import asyncio
import math
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.core import events, logs
from app.security.core.events import Event, RequestContext
from app.security.http import telemetry
from app.security.http.client_address import client_ip

_INBOUND_ID = re.compile(rb"[A-Za-z0-9-]{8,64}\Z")
IDS_AT_ONCE = 256
NOT_SENDING = math.inf
OF_SOCKETS = {"websocket.accept": 101, "websocket.close": 403}  # what servers answer
PIECE_BYTES = 64 * 1024
AGENT_BYTES, SHOWN = 1024, 200  # what is looked at of a User-Agent, and the characters that are kept of it
_NAME = Event.REQUEST.value  # a member of an enumeration takes four times as long to become JSON
FLUSH_SECONDS = 0.1  # that an access line waits for others; security events are written at once


@lru_cache(maxsize=1024)
def _shown(agent: bytes) -> str:
    """A User-Agent without what looks like a credential, which somebody put into the wrong variable."""
    return logs.redact(agent.decode("latin-1"))[:SHOWN]


def _in_pieces(message: Message) -> Iterator[Message]:
    """A server waits for its client before the next piece only, so a large answer in one would never be waited for."""
    body, last = memoryview(message["body"]), not message.get("more_body", False)
    for start in range(0, len(body), PIECE_BYTES):
        yield {"type": message["type"], "body": bytes(body[start : start + PIECE_BYTES]), "more_body": True}
    if last:
        yield {"type": message["type"], "body": b"", "more_body": False}


def _begin(message: Message, context: RequestContext) -> None:
    """How the answer begins: what others add to it, and the request's id."""
    context.status = message["status"]
    headers = message["headers"] = [*message.get("headers", ())]  # ASGI allows what can be read once
    for add in context.on_response:
        add(headers)
    headers.append((b"x-request-id", context.request_id.encode()))


class RequestLog:
    def __init__(self, app: ASGIApp, shared: FastAPI) -> None:
        self.app = app
        self.shared = shared
        self.shared_values: dict[str, Any] = (
            shared.state._state
        )  # the mapping itself: one copy a request, not one a name
        self.flushing_in: asyncio.AbstractEventLoop | None = None
        self.new_ids: list[str] = []

    def _more_ids(self) -> str:
        """Random ones, many at once: asking the system for each would cost more than anything else here."""
        many = os.urandom(16 * IDS_AT_ONCE).hex()
        self.new_ids = [many[start : start + 32] for start in range(32, len(many), 32)]
        return many[:32]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        context = self._context(scope)
        state = scope["state"]
        state.update(self.shared_values)
        state["context"] = context
        telemetry.silence(scope)

        async def sender(message: Message) -> None:
            kind = message["type"]
            if kind.endswith("http.response.start"):
                _begin(message, context)
            elif not context.status:
                context.status = OF_SOCKETS.get(kind, 0)
            pieces = _in_pieces(message) if len(message.get("body", b"")) > PIECE_BYTES else (message,)
            try:
                for piece in pieces:
                    context.sending_since = time.monotonic()
                    await send(piece)
                context.answered = kind.endswith(".body") and not message.get("more_body", False)
            finally:
                context.sending_since = NOT_SENDING

        token = events.current.set(context)
        try:
            await self.app(scope, receive, sender)
        finally:
            events.current.reset(token)
            self._access(context, started)
            context.scope = {}  # or each would keep the other until the garbage collector comes

    def _context(self, scope: Scope) -> RequestContext:
        inbound, agent = b"", b""
        for name, value in scope["headers"]:
            if name == b"user-agent":
                agent = value[:AGENT_BYTES]
            elif name == b"x-request-id" and _INBOUND_ID.match(value):
                inbound = value
        context = RequestContext(
            request_id=self.new_ids.pop() if self.new_ids else self._more_ids(),
            method=scope.get("method", "WEBSOCKET"),
            root_path=scope.get("root_path", ""),
            client_ip=client_ip(scope),
            user_agent=_shown(agent),
            scope=scope,
        )
        if inbound and scope["state"]["trusted_peer"]:
            context.request_id = inbound.decode()
        elif inbound:
            context.client_request_id = inbound.decode()
        return context

    def _access(self, context: RequestContext, started: float) -> None:
        fields: dict[str, Any] = {
            "event": _NAME,
            "actor": context.actor,
            "client_ip": context.client_ip,
            "method": context.method,
            "milliseconds": int((time.perf_counter() - started) * 10_000) / 10,
            "request_id": context.request_id,
            "route": context.route,
            "status": context.status,
        }
        if context.reason:
            fields["reason"] = context.reason
        logs.write(fields, flush=False)
        loop = asyncio.get_running_loop()
        if self.flushing_in is not loop:
            self.flushing_in = loop
            loop.call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self.flushing_in = None
        logs.flush()


def install(app: FastAPI) -> None:
    app.add_middleware(RequestLog, shared=app)
