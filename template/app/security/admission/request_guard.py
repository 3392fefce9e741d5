"""Who may knock, and how: the peer, the host, the shape of the request, how many at once, and how long it may take.

A route that needs more than others says so: `accepts("multipart/form-data", max_bytes=…)`, `deadline(None)`.
"""

import asyncio
import re
from functools import cached_property, lru_cache
from typing import Any

from fastapi import Depends, FastAPI, params
from pydantic import Field, field_validator
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.credentials import Credentials
from app.security.access.policy import Declaration, Policies, Policy, first_fitting
from app.security.access.routing import path_in
from app.security.admission.deadlines import Deadlines
from app.security.admission.in_flight import Room
from app.security.admission.request_body import JSON, Allowed, Body, check_body
from app.security.admission.request_shape import Headers, check_target, read_headers
from app.security.core.problems import Problem
from app.security.core.settings import CommaSeparated, SecuritySettings, in_production
from app.security.http.client_address import Network, contains, parse_address, parse_network, strip_untrusted_headers
from app.security.http.errors import respond

ON_THEIR_WAY = 4  # one place in so many may be taken by a body that has not arrived
HEALTH_PATHS = ("/health/live", "/health/ready")  # asked by machines that know neither our name nor TLS
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
LOOPBACK = [parse_network("127.0.0.0/8"), parse_network("::1")]
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?\Z")


@lru_cache(maxsize=1024)
def host_name(header: bytes) -> str | None:
    """The name in a Host header, without its port; None for what is no name."""
    match = _HOST.match(header.decode("latin-1").lower())
    return match[1] if match else None


class RequestGuardSettings(SecuritySettings):
    trusted_hosts: CommaSeparated = []  # the names by which this service may be called
    development_networks: CommaSeparated = []  # who may call in development, beside this machine
    max_header_bytes: int = Field(16 * 1024, ge=1024)
    max_url_bytes: int = Field(4096, ge=256)
    max_body_bytes: int = Field(1024 * 1024, ge=1024)
    max_in_flight: int = Field(512, ge=8)  # requests being answered at once, in one process; sockets as many
    max_in_flight_of_one_source: int = Field(128, ge=4)
    body_seconds: float = Field(10, gt=0)  # until a body has arrived
    response_seconds: float = Field(30, gt=0)  # until the answer begins
    taking_seconds: float = Field(30, gt=0)  # that a client may take for each piece of the answer

    @field_validator("trusted_hosts")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        for host in value:
            if host_name(host.encode()) != host:
                raise ValueError("write host names without port or wildcard, such as api.example.com")
        return value

    @field_validator("development_networks")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        return [str(parse_network(item)) for item in value]

    def weaknesses(self) -> list[str]:
        return [] if self.trusted_hosts else ["TRUSTED_HOSTS: is missing; name the hosts this service answers for"]


class _Limits(Declaration):
    asks_nothing = True

    def __init__(self, **limits: Any) -> None:
        self.limits = limits

    async def __call__(self) -> None: ...

    def declare(self, policy: Policy) -> None:
        policy.limits |= self.limits


def accepts(*media_types: str, max_bytes: int | None = None) -> params.Depends:
    """This route takes bodies of these media types, and up to so many bytes (default: the general limit)."""
    limits = {"max_bytes": max_bytes} if max_bytes else {}
    return Depends(_Limits(media_types=tuple(map(str.lower, media_types)), **limits))  # type: ignore[no-any-return]


def deadline(seconds: float | None) -> params.Depends:
    """This route may take so long until its answer begins; None is no limit. The thread of a `def` endpoint runs on."""
    return Depends(_Limits(seconds=seconds))  # type: ignore[no-any-return]


class RequestGuard:
    def __init__(self, app: ASGIApp, shared: FastAPI, settings: RequestGuardSettings) -> None:
        self.app = app
        self.shared = shared
        self.credentials: Credentials = shared.state.credentials
        self.settings = settings
        self.production = in_production()
        self.hosts = {*settings.trusted_hosts, *(() if self.production else LOCAL_HOSTS)}
        self.networks: list[Network] = [*LOOPBACK, *map(parse_network, settings.development_networks)]
        most, of_one = settings.max_in_flight, settings.max_in_flight_of_one_source
        self.requests, self.sockets = Room(most, of_one), Room(most, of_one)
        self._general = Allowed(JSON, settings.max_body_bytes, settings.body_seconds, settings.response_seconds)
        self.deadlines = Deadlines(settings.response_seconds, settings.taking_seconds)
        self.bodies = Room(most // ON_THEIR_WAY, of_one // ON_THEIR_WAY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        state = scope["state"]
        room = self.sockets if scope["type"] == "websocket" else self.requests
        source = None
        try:
            allowed, headers = self._admit(scope)
            sent = state["sent"] = self.credentials.look(headers)
            counted_as = state["counted_as"] = self.credentials.remembered(sent, state["context"].client_ip)
            if path_in(scope) != HEALTH_PATHS[0]:
                room.enter(counted_as)
                source = counted_as
            if room is self.sockets:
                return await self.app(scope, receive, send)
            body = Body(receive, headers, allowed, self.bodies, counted_as)
            await self._in_time(allowed.response_seconds, scope, body.receive, send)
        except Problem as problem:
            known = problem.slug != "about:blank"
            state["context"].reason = problem.slug.replace("-", "_") if known else "request_guard"
            await respond(problem, state["context"].request_id)(scope, receive, send)
        finally:
            if source is not None:
                room.leave_after(state["context"].thread, source)

    def _admit(self, scope: Scope) -> tuple[Allowed, Headers]:
        """What this request may bring, and the headers. Raises: Problem."""
        self._check_peer(scope)
        headers = read_headers(scope, self.settings.max_header_bytes)
        strip_untrusted_headers(scope)
        check_target(scope, self.settings.max_url_bytes)
        if path_in(scope) not in HEALTH_PATHS:
            self._check_destination(scope, headers)
        allowed = self._allowed_here(scope)
        check_body(headers, allowed)
        return allowed, headers

    def _allowed_here(self, scope: Scope) -> Allowed:
        policies: Policies = scope["state"]["policies"]
        exceptions = policies.exceptions.get(scope.get("method", "WEBSOCKET"))
        if not exceptions or first_fitting(exceptions, scope) is None:
            return self._usually  # as nearly always: which route it will be makes no difference
        policy = first_fitting(policies.all, scope)
        limits = policy.limits if policy else {}
        return self._general.beside({"max_body_size": self.shared.router.max_body_size, **limits})

    @cached_property
    def _usually(self) -> Allowed:
        return self._general.beside({"max_body_size": self.shared.router.max_body_size})

    def _check_peer(self, scope: Scope) -> None:
        if self.production:
            return
        peer, server = scope["state"]["peer"], scope.get("server")
        # No peer: a socket file, where the server has no port; or a stranger who left. A name as peer: a test.
        local = (server is not None and server[1] is None) if peer is None else parse_address(peer) is None
        if not (local or contains(self.networks, peer)):
            raise Problem(403, detail="In development this service answers this machine alone (DEVELOPMENT_NETWORKS).")

    def _check_destination(self, scope: Scope, headers: Headers) -> None:
        if b"host" not in headers or host_name(headers[b"host"]) not in self.hosts:
            raise Problem(400, detail="This service does not answer for that host.")
        if self.production and scope["scheme"] not in ("https", "wss"):
            # Never a redirect: it would hide that the credential has already crossed in clear (ASVS 5.0 V4.1.2).
            raise Problem(403, "https-required", "Use https.")

    async def _in_time(self, seconds: float | None, scope: Scope, receive: Receive, send: Send) -> None:
        context = scope["state"]["context"]
        watched = self.deadlines.watch(seconds, context)
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if not watched.was_us():
                raise
            if context.status:
                raise TimeoutError from None
            late = Problem(504, detail="The answer took too long.")
            await respond(late, context.request_id)(scope, receive, send)
        finally:
            self.deadlines.forget(watched)


def install(app: FastAPI) -> None:
    app.max_body_size = None  # it would be asked outside of all layers; it stands in the router and its routes too
    app.add_middleware(RequestGuard, shared=app, settings=RequestGuardSettings.current())
