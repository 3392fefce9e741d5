"""The outermost middleware: request id, security headers, and the access log, one event for each complete response."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.credentials import RequestContext
from app.security.access.policy import WEBSOCKET
from app.security.core import events, logs
from app.security.core.events import Event
from app.security.http.client_address import shown_address
from app.security.http.headers import security_headers

_INBOUND_ID = re.compile(rb"[A-Za-z0-9-]{8,64}\Z")
SOCKET_STATUS = {"websocket.accept": 101, "websocket.close": 403}  # what servers send for them
CSP = b"content-security-policy"
CACHING = {b"cache-control", b"cdn-cache-control", b"surrogate-control", b"x-accel-expires"}
VARY = (b"vary", b"Authorization, X-API-Key")  # where a route allows caching: a shared cache must keep callers apart
AGENT_BYTES, AGENT_CHARACTERS = 1024, 200  # read of a User-Agent, and kept of it
_NAME = Event.REQUEST.value  # to serialise an enumeration takes four times as long
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", WEBSOCKET}
log = logging.getLogger(__name__)


class Responded(NamedTuple):
    """One complete response. Its texts are few, whatever clients send: they may be labels of a metric."""

    method: str  # or OTHER; WEBSOCKET where `seconds` is the life of a socket
    route: str  # the template of its path, empty where there is none
    status: int  # 0 where the client left before a response
    seconds: float
    reason: str  # why it was refused, such as rate_limit or a code of the database; else empty


Observer = Callable[[Responded], None]
_observers: list[Observer] = []


def on_response(observer: Observer) -> Observer:
    """Call this function after every response, those refused before any route among them. It must not wait."""
    if observer not in _observers:
        _observers.append(observer)
    return observer


@lru_cache(maxsize=1024)
def _shown(agent: bytes) -> str:
    """A User-Agent without what looks like a credential: clients put keys into the wrong variable."""
    return logs.redact(agent.decode("latin-1"))[:AGENT_CHARACTERS]


def _path(scope: Scope) -> str:
    """What routing compares: the path without the root path (`uvicorn --root-path`, or mounted elsewhere)."""
    path, root_path = str(scope["path"]), str(scope.get("root_path", ""))
    below = path.removeprefix(root_path)
    return below if root_path and below != path and below[:1] in ("", "/") else path


class RequestLog:
    """Makes the context of the request, and gives it the values that `app.state` has once the app is started."""

    def __init__(self, app: ASGIApp, shared: FastAPI) -> None:
        self.app = app
        self.shared = shared
        self.headers, self.over_https, self.of_documents = security_headers()
        self.values: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        context = self._context(scope)
        self.values = self.values or {name: self.shared.state[name] for name in self.shared.state}
        scope["state"].update(self.values, context=context)

        async def sender(message: Message) -> None:
            kind = message["type"]
            if kind.endswith(("http.response.start", "websocket.accept")):
                message = self._start(message, context, scope)
            context.status = context.status or SOCKET_STATUS.get(kind, 0)
            await send(message)
            if kind == "http.response.start":
                context.started()  # only now: a server waits here for a client that does not read
            more = message.get("more_body", False)
            if kind.endswith(".body") and not more:
                context.answered_after = time.perf_counter() - started
            if more or kind == "websocket.send":  # a stream that never waits would keep this process to itself
                await asyncio.sleep(0)

        token = events.current.set(context)
        try:
            await self.app(scope, receive, sender)
        except Exception:
            context.status = context.status or 500  # what the server responds
            raise
        finally:
            events.current.reset(token)
            context.on_start.clear()  # they hold the scope, which holds the context
            seconds = context.answered_after or time.perf_counter() - started
            self._access(context, seconds)
            if _observers:
                _observe(context, seconds)

    def _start(self, message: Message, context: RequestContext, scope: Scope) -> Message:
        """Add our headers. Where the response sets one itself, that stays: a route may, for example, allow caching."""
        message = {**message}  # an app may send the same one each time
        for call in context.on_start:
            call(message)
        if message["type"] == "websocket.accept":
            return message
        context.status = message["status"]
        headers = message["headers"] = [*message.get("headers", ())]  # ASGI allows an iterator
        present = {name.lower(): value for name, value in headers}
        csp = context.policy.limits.get("content_security_policy") if context.policy else None
        if csp and CSP not in present:
            present[CSP] = csp
            headers.append((CSP, csp))
        security = self.over_https if scope["scheme"] in ("https", "wss") else self.headers
        if present.get(b"content-type", b"").startswith(b"text/html"):
            security = [*security, *self.of_documents]
        headers += [item for item in security if item[0] not in present]
        if b"ratelimit" not in present:
            headers += context.rate_limit
        if not CACHING.isdisjoint(present) and context.policy and context.policy.guarded:
            headers.append(VARY)
        headers.append((b"x-request-id", context.request_id.encode()))
        # A server may read the body after these as a next request; while draining, a proxy would send another.
        if b"upgrade" in dict(scope["headers"]) or context.method == "CONNECT" or self.values["readiness"].draining:
            headers.append((b"connection", b"close"))
        return message

    def _context(self, scope: Scope) -> RequestContext:
        headers, client = dict(scope["headers"]), scope.get("client")
        context = RequestContext(
            request_id=secrets.token_hex(16),
            method=WEBSOCKET if scope["type"] == "websocket" else scope["method"],
            app=self.shared,
            path=_path(scope),
            client_ip=shown_address(client and client[0]),
            user_agent=_shown(headers.get(b"user-agent", b"")[:AGENT_BYTES]),
        )
        inbound = headers.get(b"x-request-id", b"")
        if _INBOUND_ID.match(inbound) and scope["state"]["trusted_peer"]:
            context.request_id = inbound.decode()
        elif _INBOUND_ID.match(inbound):
            context.client_request_id = inbound.decode()
        return context

    def _access(self, context: RequestContext, seconds: float) -> None:
        fields: dict[str, Any] = {
            "event": _NAME,
            "actor": context.actor,
            "client_ip": context.client_ip,
            "method": context.method[:32],
            "milliseconds": int(seconds * 10_000) / 10,
            "request_id": context.request_id,
            "route": context.route,
            "status": context.status,
        }
        if context.reason:
            fields["reason"] = context.reason
        if context.credential:
            fields["credential"] = str(context.credential)
        if logs.Output.readable:
            fields["path"] = context.path  # in development alone: a path may hold what is private
        logs.write(fields)


def _observe(context: RequestContext, seconds: float) -> None:
    method = context.method if context.method in METHODS else "OTHER"
    response = Responded(method, context.route or "", context.status, seconds, context.reason or "")
    for observer in _observers:
        try:
            observer(response)
        except Exception:  # an error here would end the connection
            log.exception("the on_response function %s failed", observer.__qualname__)
