"""Admission control: peer, host, shape of the request, concurrency and deadlines.

A route declares what it needs beyond the general limits: `accepts("application/pdf", max_bytes=…)`, `deadline(None)`.
"""

import asyncio
import re
from functools import cache, lru_cache
from typing import Any

from fastapi import Depends, FastAPI, params
from pydantic import Field, field_validator
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.credentials import Credentials, Headers, RequestContext, context_in
from app.security.access.policy import WEBSOCKET, Declaration, InsecureApp, Policy
from app.security.admission.request_body import CLOSE, Allowed, Body, Slots, check_body, check_target, read_headers
from app.security.core.problems import Problem
from app.security.core.settings import CommaSeparated, SecuritySettings, in_production
from app.security.http.client_address import (
    Networks,
    client_prefix,
    contains,
    parse_address,
    parse_network,
    strip_untrusted_headers,
)
from app.security.http.errors import respond
from app.security.http.headers import relaxed
from app.security.http.websockets import WebSocketGuard, read_subprotocol

THREADS = 40  # of `def` functions in one process, AnyIO's default
UNREAD_BODY_SHARE = 4  # one slot in so many may be used by a body that has not arrived
HEALTH_PATHS = ("/health/live", "/health/ready")  # probes use neither the host name nor TLS
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver", "test")  # the last two: of test clients
LOOPBACK = [parse_network("127.0.0.0/8"), parse_network("::1")]
PRIVATE_NETWORKS = [*LOOPBACK, *map(parse_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))]
Work = asyncio.Task[Any]
FORWARDED = (b"forwarded", b"via", b"x-real-ip")  # of proxies, beside X-Forwarded-*
LATE = Problem(504, detail="The response took too long.")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?\Z")


@lru_cache(maxsize=1024)
def host_name(header: bytes) -> str | None:
    """The name in a Host header, without its port; None for an invalid one."""
    match = _HOST.match(header.decode("latin-1").lower())
    return match[1] if match else None


class RequestGuardSettings(SecuritySettings):
    trusted_hosts: CommaSeparated = []  # the host names of this service
    development_networks: Networks = []  # clients that may call in development, beside this machine
    internal_networks: Networks = PRIVATE_NETWORKS  # clients that may call an `internal` route
    max_header_bytes: int = Field(16 * 1024, ge=1024)
    max_url_bytes: int = Field(4096, ge=256)
    max_body_bytes: int = Field(1024 * 1024, ge=1024)
    max_in_flight: int = Field(512, ge=8)  # requests in progress in one process; as many WebSockets
    max_in_flight_of_one_source: int = Field(128, ge=4)
    body_seconds: float = Field(10, gt=0)  # until a body has arrived
    response_seconds: float = Field(30, gt=0)  # until the response starts

    @field_validator("trusted_hosts")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        if any(host_name(host.encode()) != host for host in value):
            raise ValueError("write host names without port or wildcard, such as api.example.com")
        return value

    def weaknesses(self) -> list[str]:
        return [] if self.trusted_hosts else ["TRUSTED_HOSTS: is missing; name the hosts of this service"]


class Bounds(Declaration):
    """What a route allows beyond the general bounds, or short of them."""

    def __init__(self, **limits: Any) -> None:
        self.limits = limits

    async def __call__(self, connection: HTTPConnection) -> None:
        policy = context_in(connection.scope).policy
        if "internal" in self.limits and policy and self not in policy.calls:
            raise InsecureApp(f"{policy.name} is not internal, and a route below is: declare `internal` for the mount")

    def declare(self, policy: Policy) -> None:
        policy.limits |= self.limits


def accepts(*media_types: str, max_bytes: int | None = None) -> params.Depends:
    """This route accepts bodies of these media types, and up to so many bytes (default: MAX_BODY_BYTES)."""
    limits = {"max_bytes": max_bytes} if max_bytes else {}
    return Depends(Bounds(media_types=tuple(map(str.lower, media_types)), **limits))  # type: ignore[no-any-return]


def deadline(seconds: float | None) -> params.Depends:
    """This route may take so long until its response starts; None is no limit. A `def` endpoint's thread runs on."""
    return Depends(Bounds(seconds=seconds))  # type: ignore[no-any-return]


internal: params.Depends = Depends(Bounds(internal=True))
"""This route is for INTERNAL_NETWORKS, such as a scraper's: by address and over http, and never through a proxy."""


def content_security_policy(directives: str) -> params.Depends:
    """Pages of this route may load what these directives allow; ours stay for every directive that is not named.

    "default-src 'self'; form-action 'self'" allows styles, scripts, images and forms of this service.
    """
    return Depends(Bounds(content_security_policy=relaxed(directives)))  # type: ignore[no-any-return]


class RequestGuard:
    def __init__(self, app: ASGIApp, shared: FastAPI, settings: RequestGuardSettings) -> None:
        self.app = app
        self.credentials: Credentials = shared.state.credentials
        self.settings = settings
        self.production = in_production()
        self.hosts = {*settings.trusted_hosts, *(() if self.production else LOCAL_HOSTS)}
        self.networks = [*LOOPBACK, *settings.development_networks]
        total, per_client = settings.max_in_flight, settings.max_in_flight_of_one_source
        self.slots = {kind: Slots(total, per_client) for kind in ("http", "websocket")}
        # A client counts by address, by account, and as the account at its address: it keeps three quarters at most.
        self.threads = Slots(total, min(per_client, THREADS // 4))
        self.unread_bodies = Slots(total // UNREAD_BODY_SHARE, per_client // UNREAD_BODY_SHARE)
        self.usual = Allowed((), settings.max_body_bytes, settings.body_seconds, settings.response_seconds)
        self.sockets = WebSocketGuard(app, settings.max_body_bytes)
        self._allowed = cache(self._allow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        context, slots = context_in(scope), self.slots[scope["type"]]
        holder = late_work = None
        try:
            headers, allowed = self._admit(scope, context)
            context.sent = self.credentials.extract(headers)
            client = self.credentials.rate_limit_key(context.sent, client_prefix(context.client_ip))
            context.rate_limit_key = client
            in_thread = context.policy is not None and context.policy.uses_threads and scope["type"] == "http"
            slots = self.threads if in_thread else slots
            if context.path != HEALTH_PATHS[0]:
                slots.acquire(client)
                holder = client
            if scope["type"] == "websocket":
                return await self.sockets(scope, receive, send)
            body = Body(receive, headers, allowed, self.unread_bodies, client)
            if in_thread:
                late_work = await self._run_in_thread(allowed.response_seconds, scope, body.receive, send)
            else:
                await self._run(allowed.response_seconds, scope, body.receive, send)
        except Problem as problem:
            known = problem.slug != "about:blank"
            context.reason = problem.slug.replace("-", "_") if known else "request_guard"
            await respond(problem, context.request_id)(scope, receive, send)
        finally:
            if late_work is not None:  # its thread keeps the slot until it ends
                late_work.add_done_callback(lambda _: slots.release(holder))
            elif holder is not None:
                slots.release(holder)

    async def _run(self, seconds: float | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 504 when the app has started no response in time. The proxy gives up slow clients."""
        context = context_in(scope)
        try:
            async with asyncio.timeout(seconds) as limit:
                context.timeout = limit
                await self.app(scope, receive, send)
        except TimeoutError:
            if context.status or not limit.expired():
                raise
            await respond(LATE, context.request_id)(scope, receive, send)

    async def _run_in_thread(self, seconds: float | None, scope: Scope, receive: Receive, send: Send) -> Work | None:
        """The same for a route with `def` functions. No thread can be ended: returns the task that waits for it."""
        context = context_in(scope)
        late = False

        async def unless_late(message: Message) -> None:
            if not late:
                await send(message)

        work = asyncio.ensure_future(self.app(scope, receive, unless_late))
        try:
            await asyncio.wait({work}, timeout=seconds)
            late = not work.done() and not context.status
            if not late:
                await work
        except asyncio.CancelledError:
            work.cancel()
            raise
        if late:
            await respond(LATE, context.request_id)(scope, receive, send)
        return work if late else None

    def _admit(self, scope: Scope, context: RequestContext) -> tuple[Headers, Allowed]:
        """Raises: Problem."""
        self._check_peer(scope)
        if scope["type"] == "websocket":
            read_subprotocol(scope)
        headers = read_headers(scope, self.settings.max_header_bytes)
        check_target(scope, self.settings.max_url_bytes)
        # WEBSOCKET is our name for what has no method; a client may send it as one.
        known = scope.get("method") != WEBSOCKET
        policy = context.policy = context.policies.find(context.method, context.path) if known else None
        context.route = policy.path if policy else None
        allowed = self._allowed(policy) if policy else self.usual
        if not allowed.internal and context.path not in HEALTH_PATHS:
            self._check_destination(scope, headers)
        elif b"host" not in headers and scope.get("http_version") == "1.1":
            raise Problem(400, detail="Send a Host header.", headers=CLOSE)  # RFC 9112 section 3.2
        if allowed.internal:
            self._check_internal(scope, headers)
        strip_untrusted_headers(scope, context.client_ip)
        check_body(headers, allowed)
        return headers, allowed

    def _allow(self, policy: Policy) -> Allowed:
        """The general limits with those of this route. A larger body may also take longer."""
        limits, usual = policy.limits, self.usual
        sizes = limits.get("max_bytes", usual.max_bytes), limits.get("max_body_size")
        body_seconds = usual.response_seconds if limits.get("max_bytes", 0) > usual.max_bytes else usual.body_seconds
        return Allowed(
            media_types=policy.media_types,
            max_bytes=min(size for size in sizes if size is not None),
            body_seconds=limits.get("seconds", body_seconds),
            response_seconds=limits.get("seconds", usual.response_seconds),
            internal=limits.get("internal", False),
        )

    def _check_peer(self, scope: Scope) -> None:
        if self.production:
            return
        peer, server = scope["state"]["peer"], scope.get("server")
        # No peer: a Unix socket, where the server has no port; or a client that left. A name as peer: a test.
        local = (server is not None and server[1] is None) if peer is None else parse_address(peer) is None
        if not (local or contains(self.networks, peer)):
            raise Problem(403, detail="In development only this machine may call (DEVELOPMENT_NETWORKS).")

    def _check_internal(self, scope: Scope, headers: Headers) -> None:
        """No proxy inside that network, which forwards for anybody; no page that rebinds its name (DNS rebinding)."""
        names = [name.replace(b"_", b"-") for name, _ in scope["headers"]]
        forwarded = any(name.startswith(b"x-forwarded-") or name in FORWARDED for name in names)
        host = host_name(headers.get(b"host", b"")) or ""
        named = "." in host and parse_address(host) is None
        if forwarded or named or not contains(self.settings.internal_networks, scope["state"]["peer"]):
            raise Problem(403, detail="Only clients of INTERNAL_NETWORKS may call, and not through a proxy.")

    def _check_destination(self, scope: Scope, headers: Headers) -> None:
        if b"host" not in headers or host_name(headers[b"host"]) not in self.hosts:
            raise Problem(400, detail="This service does not serve that host.")
        if self.production and scope["scheme"] not in ("https", "wss"):
            # Never a redirect: it would hide that the credential has already crossed in clear (ASVS 5.0 V4.1.2).
            raise Problem(403, "https-required", "Use https.")


def install(app: FastAPI) -> None:
    app.max_body_size = None  # FastAPI would enforce it outside of all middleware; see MAX_BODY_BYTES and `accepts`
    app.add_middleware(RequestGuard, shared=app, settings=RequestGuardSettings.current())
