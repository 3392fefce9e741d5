"""The outermost layer: a request id for every request, and one access event when it has been answered."""

import asyncio
import os
import re
import time
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.context import RequestContext
from app.security.access.policy import WEBSOCKET
from app.security.core import events, logs
from app.security.core.events import Event
from app.security.http.client_address import client_ip

_INBOUND_ID = re.compile(rb"[A-Za-z0-9-]{8,64}\Z")
IDS_AT_ONCE = 256
OF_SOCKETS = {"websocket.accept": 101, "websocket.close": 403}  # what servers answer
AGENT_BYTES, SHOWN = 1024, 200  # what is looked at of a User-Agent, and the characters that are kept of it
_NAME = Event.REQUEST.value  # a member of an enumeration takes four times as long to become JSON
FLUSH_SECONDS = 0.1  # that an access line waits for others; security events are written at once


@lru_cache(maxsize=1024)
def _shown(agent: bytes) -> str:
    """A User-Agent without what looks like a credential, which somebody put into the wrong variable."""
    return logs.redact(agent.decode("latin-1"))[:SHOWN]


def _begin(message: Message, context: RequestContext) -> None:
    """How the answer begins: what others add to it, and the request's id."""
    context.status = message["status"]
    headers = message["headers"] = [*message.get("headers", ())]  # ASGI allows what can be read once
    for add in context.on_response:
        add(headers)
    headers.append((b"x-request-id", context.request_id.encode()))


def _path(scope: Scope) -> str:
    """What routing compares: the path without the root path (`uvicorn --root-path`, or mounted elsewhere)."""
    path, root_path = str(scope["path"]), str(scope.get("root_path", ""))
    below = path.removeprefix(root_path)
    return below if root_path and below != path and below[:1] in ("", "/") else path


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

        async def sender(message: Message) -> None:
            kind = message["type"]
            if kind.endswith("http.response.start"):
                _begin(message, context)
            elif not context.status:
                context.status = OF_SOCKETS.get(kind, 0)
            await send(message)
            context.answered = kind.endswith(".body") and not message.get("more_body", False)

        token = events.current.set(context)
        try:
            await self.app(scope, receive, sender)
        finally:
            events.current.reset(token)
            self._access(context, started)

    def _context(self, scope: Scope) -> RequestContext:
        inbound, agent = b"", b""
        for name, value in scope["headers"]:
            if name == b"user-agent":
                agent = value[:AGENT_BYTES]
            elif name == b"x-request-id" and _INBOUND_ID.match(value):
                inbound = value
        context = RequestContext(
            request_id=self.new_ids.pop() if self.new_ids else self._more_ids(),
            method=WEBSOCKET if scope["type"] == "websocket" else scope["method"],
            root_path=scope.get("root_path", ""),
            app=self.shared,
            path=_path(scope),
            client_ip=client_ip(scope),
            user_agent=_shown(agent),
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
