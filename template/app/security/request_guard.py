"""What a request may be: its host, its headers, its size and media type, and how long it may take.

Servers differ in what they let through (one takes two Host headers, another both lengths of RFC 9112 section 6.3), so
this layer asks for itself. A route that needs more says so: `accepts("multipart/form-data", max_bytes=…)`,
`deadline(None)`.
"""

import asyncio
import re
from collections import Counter
from typing import Any

from fastapi import Depends, FastAPI, params
from pydantic import Field, field_validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.client_address import Network, contains, parse_address, parse_network
from app.security.errors import respond
from app.security.problems import Problem
from app.security.route_policy import Declaration, Policy
from app.security.settings import CommaSeparated, SecuritySettings, in_production

HEALTH_PATHS = ("/health/live", "/health/ready")  # asked by machines that know neither our name nor TLS
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
LOOPBACK = [parse_network("127.0.0.0/8"), parse_network("::1")]
ONCE = (b"host", b"authorization", b"x-api-key", b"content-type", b"content-length", b"transfer-encoding", b"origin")
JSON = ("application/json",)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?\Z")
_CHARSET = re.compile(r"(?: *; *charset=\"?utf-8\"?)?\Z", re.IGNORECASE)


class RequestGuardSettings(SecuritySettings):
    trusted_hosts: CommaSeparated = []  # the names by which this service may be called
    development_networks: CommaSeparated = []  # who may call in development, beside this machine
    max_header_bytes: int = Field(16 * 1024, ge=1024)
    max_url_bytes: int = Field(4096, ge=256)
    max_body_bytes: int = Field(1024 * 1024, ge=1024)
    max_in_flight: int = Field(256, ge=8)  # requests being answered at once, in one process
    response_seconds: float = Field(30, gt=0)  # until the answer begins

    @field_validator("trusted_hosts")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        for host in value:
            if not _HOST.match(host) or ":" in host.rpartition("]")[2]:
                raise ValueError("write host names without port or wildcard, such as api.example.com")
        return value

    @field_validator("development_networks")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        return [str(parse_network(item)) for item in value]

    def weaknesses(self) -> list[str]:
        return [] if self.trusted_hosts else ["TRUSTED_HOSTS: is missing; name the hosts this service answers for"]


class _Limits(Declaration):
    def __init__(self, **limits: Any) -> None:
        self.limits = limits

    async def __call__(self) -> None: ...

    def declare(self, policy: Policy) -> None:
        policy.limits |= self.limits


def accepts(*media_types: str, max_bytes: int | None = None) -> params.Depends:
    """This route takes bodies of these media types, and up to so many bytes (default: the general limit)."""
    return Depends(_Limits(media_types=media_types, **({"max_bytes": max_bytes} if max_bytes else {})))  # type: ignore[no-any-return]


def deadline(seconds: float | None) -> params.Depends:
    """This route may take so long until its answer begins; None is no limit."""
    return Depends(_Limits(seconds=seconds))  # type: ignore[no-any-return]


class RequestGuard:
    def __init__(self, app: ASGIApp, shared: FastAPI, settings: RequestGuardSettings) -> None:
        self.app = app
        self.shared = shared
        self.settings = settings
        self.production = in_production()
        self.hosts = {*settings.trusted_hosts, *(() if self.production else LOCAL_HOSTS)}
        self.networks: list[Network] = [*LOOPBACK, *map(parse_network, settings.development_networks)]
        self.in_flight = 0
        self.exceptions: list[Policy] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        limits = self._limits(scope)
        if problem := self._refuse(scope, limits):
            return await self._answer(problem, scope, receive, send)
        if scope["type"] == "websocket":
            return await self.app(scope, receive, send)
        self.in_flight += 1
        try:
            await self._in_time(limits, scope, self._counted(limits, scope, receive), send)
        finally:
            self.in_flight -= 1

    async def _answer(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        await respond(problem, scope["state"]["context"].request_id)(scope, receive, send)

    def _limits(self, scope: Scope) -> dict[str, Any]:
        if self.exceptions is None:
            self.exceptions = [policy for policy in self.shared.state.policies.all if policy.limits]
        path, method = scope["path"], scope.get("method")
        for policy in self.exceptions:
            if method in policy.methods and policy.pattern and policy.pattern.match(path):
                return policy.limits
        return {}

    def _refuse(self, scope: Scope, limits: dict[str, Any]) -> Problem | None:
        health = scope["path"] in HEALTH_PATHS
        return (
            self._refuse_peer(scope)
            or self._refuse_shape(scope)
            or (None if health else self._refuse_destination(scope))
            or self._refuse_body(scope, limits)
            or self._refuse_load(scope)
        )

    def _refuse_peer(self, scope: Scope) -> Problem | None:
        peer = scope["state"]["peer"]
        # What has no address did not come over a network: a socket file, a test.
        if self.production or parse_address(peer) is None or contains(self.networks, peer):
            return None
        return Problem(403, detail="In development this service answers this machine alone (DEVELOPMENT_NETWORKS).")

    def _refuse_shape(self, scope: Scope) -> Problem | None:
        headers = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > self.settings.max_header_bytes:
            return Problem(431)
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > self.settings.max_url_bytes:
            return Problem(414)
        seen = Counter(name for name, _ in headers if name in ONCE)
        if any(count > 1 for count in seen.values()) or seen[b"host"] != 1:
            return Problem(400, detail="A header that may stand once is missing or repeated.")
        if seen[b"content-length"] and seen[b"transfer-encoding"]:
            return Problem(400, detail="A body has one length.")
        if not scope["path"].startswith("/"):
            return Problem(400, detail="The path does not start with a slash.")
        return None

    def _refuse_destination(self, scope: Scope) -> Problem | None:
        host = next(value for name, value in scope["headers"] if name == b"host").decode("latin-1").lower()
        match = _HOST.match(host)
        if not match or match[1] not in self.hosts:
            return Problem(400, detail="This service does not answer for that host.")
        if self.production and scope["scheme"] not in ("https", "wss"):
            # Never a redirect: it would hide that the credential has already crossed in clear (ASVS 5.0 V4.1.2).
            return Problem(403, "https-required", "Use https.")
        return None

    def _refuse_body(self, scope: Scope, limits: dict[str, Any]) -> Problem | None:
        headers = dict(scope["headers"])
        length, chunked = headers.get(b"content-length", b"0"), b"transfer-encoding" in headers
        if not length.isdigit():
            return Problem(400, detail="Content-Length is no number.")
        if int(length) > limits.get("max_bytes", self.settings.max_body_bytes):
            return Problem(413)
        if not chunked and int(length) == 0:
            return None
        media_type, _, _ = headers.get(b"content-type", b"").decode("latin-1").partition(";")
        parameters = headers.get(b"content-type", b"").decode("latin-1")[len(media_type) :]
        allowed = limits.get("media_types", JSON)
        if media_type.strip().lower() in allowed and (allowed != JSON or _CHARSET.match(parameters)):
            return None
        return Problem(415, detail=f"Send {' or '.join(allowed)}.")

    def _refuse_load(self, scope: Scope) -> Problem | None:
        if self.in_flight < self.settings.max_in_flight or scope["path"] == HEALTH_PATHS[0]:
            return None
        return Problem(503, detail="The service is busy; try again.", headers={"Retry-After": "1"})

    def _counted(self, limits: dict[str, Any], scope: Scope, receive: Receive) -> Receive:
        """A body without a declared length is counted while it is read; what nobody reads is never buffered."""
        if all(name != b"transfer-encoding" for name, _ in scope["headers"]):
            return receive  # the server holds the body to its Content-Length
        left = limits.get("max_bytes", self.settings.max_body_bytes)

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise Problem(413)
            return message

        return counted

    async def _in_time(self, limits: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sender(message: Message) -> None:
            nonlocal started
            if not started:
                started = True
                timer.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(limits.get("seconds", self.settings.response_seconds)) as timer:
                await self.app(scope, receive, sender)
        except TimeoutError:
            if started or not timer.expired():
                raise
            await self._answer(Problem(504, detail="The answer took too long."), scope, receive, send)


def install(app: FastAPI) -> None:
    app.add_middleware(RequestGuard, shared=app, settings=RequestGuardSettings.current())
