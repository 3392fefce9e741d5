"""The rate limit of each caller, before routing: it counts unknown paths and refused credentials too.

A caller verified in the last minutes is counted as an account from every address. Any other is counted as an address
(IPv4, or the /64 of an IPv6 customer), so that a noisy neighbour behind the same address locks no known caller out
(ASVS 5.0 V2.4.1, V15.2.2; OWASP API4:2023).
"""

import hmac
import logging
import math
import multiprocessing
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, FastAPI, params
from limits import RateLimitItem, parse, parse_many
from pydantic import Field, SecretStr, field_validator
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.database import LOOPBACK, DatabaseSettings
from app.security.access.credentials import Credentials, Principal, RequestContext, context_in
from app.security.admission.request_guard import HEALTH_PATHS, Bounds
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import Problem
from app.security.core.settings import SecuritySettings, keys_for
from app.security.http import errors
from app.security.limits import route_limits
from app.security.limits.counters import RETRY_SECONDS, Counters

log = logging.getLogger(__name__)
MIN_BURST = 20  # requests in one second
BURST_FACTOR = 4  # times the average of RATE_LIMIT
_WORKERS = re.compile(r" (?:-w|--workers)[ =]?(\d+)")  # of uvicorn, gunicorn, hypercorn, granian and `fastapi run`


class RateLimitSettings(SecuritySettings):
    rate_limit: str = "300/minute"
    rate_limit_burst: str = ""  # counted in each process; empty: see `burst`
    rate_limit_storage_url: SecretStr = SecretStr("memory://")  # or redis://…, rediss://… to count together
    web_concurrency: int = Field(1, ge=1)  # processes of one instance
    instances: int = Field(1, ge=1)  # machines, containers or pods that serve at once, at most

    @field_validator("rate_limit", "rate_limit_burst")
    @classmethod
    def _is_one_limit(cls, value: str) -> str:
        with suppress(ValueError):
            if not value or [limit.amount > 0 for limit in parse_many(value)] == [True]:
                return value
        raise ValueError("write a limit such as 300/minute")

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _is_supported(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        try:
            url = urlsplit(text)
            complete = text == "memory://" or bool(url.hostname and url.port)
        except ValueError:  # its message quotes the value
            complete = False
        if not complete or not text.startswith(("memory://", "redis://", "rediss://")):  # redis-py: lower case only
            raise ValueError("write memory:// or rediss://user:password@host:6379/0") from None
        for name, path in parse_qsl(url.query, keep_blank_values=True):  # redis-py reads ssl_cert_reqs=none from here
            if name != "ssl_ca_certs" or url.scheme != "rediss" or not Path(path).is_file():
                raise ValueError("the only parameter is ssl_ca_certs, with rediss: the path of an existing file")
        return value

    @property
    def url(self) -> str:
        return self.rate_limit_storage_url.get_secret_value()

    def burst(self, limit: RateLimitItem) -> RateLimitItem:
        """Requests of one caller in one second: as set, or a multiple of the average of their limit."""
        average = limit.amount / limit.get_expiry()
        return parse(self.rate_limit_burst or f"{max(MIN_BURST, math.ceil(BURST_FACTOR * average))}/second")

    @property
    def processes(self) -> int:
        return self.instances * max(self.web_concurrency, _workers())

    def weaknesses(self) -> list[str]:
        if self.url == "memory://":
            several = "RATE_LIMIT_STORAGE_URL: several processes need a Redis to count together"
            return [several] if self.processes > 1 else []
        private = (*LOOPBACK, *DatabaseSettings.current().plaintext_hosts)
        plain = self.url.startswith("redis:") and urlsplit(self.url).hostname not in private
        return ["RATE_LIMIT_STORAGE_URL: needs rediss://, or its host among PLAINTEXT_HOSTS"] if plain else []


def _workers() -> int:
    """How many workers the server has, as far as one of them can see: each has the command line that started all.

    A server that is started by code has no option there, and spawns two or more; hypercorn spawns a single one, too.
    """
    if option := _WORKERS.search(" ".join(sys.argv)):
        return int(option[1])
    spawned = isinstance(multiprocessing.current_process(), SpawnProcess)
    return 2 if spawned and "hypercorn" not in sys.argv[0] else 1


@lru_cache(maxsize=10_000)
def rate_limit_key(caller: object) -> str:
    """The pseudonym under which a caller is counted: Redis and the log hold no address and no account."""
    return hmac.digest(keys_for("limits")[0], str(caller).encode(), "sha256").hex()[:32]


exempt: params.Depends = Depends(Bounds(exempt=True))
"""RATE_LIMIT does not count the requests of this route, invalid credentials among them; its `@limiter.limit` does."""
LimitOf = Callable[[Principal], str | None]
_limit_of: list[LimitOf] = []


def limit_of_caller(function: LimitOf) -> LimitOf:
    """Use this function's limit, such as that of a plan, instead of RATE_LIMIT for a verified caller; None keeps it.

    It is called for every request, so it reads no database. RATE_LIMIT counts where no caller is known yet: for an
    address, and for everyone with AUTH_CACHE_SECONDS=0.
    """
    _limit_of[:] = [function]
    return function


ParsedLimit = tuple[RateLimitItem, RateLimitItem, bytes]  # a limit, its burst, and its RateLimit-Policy


def _parse(settings: RateLimitSettings, text: str) -> ParsedLimit:
    limit = parse(text)
    return limit, settings.burst(limit), _policy("default", limit).encode()


class RateLimits:
    """The limits of one app and the counters for them."""

    def __init__(self, settings: RateLimitSettings) -> None:
        self.counters = Counters(settings.url, settings.processes)
        self._bursts = Counters("memory://", 1)  # in this process, even with Redis
        self._parsed = lru_cache(maxsize=1024)(partial(_parse, settings))
        self._usual = settings.rate_limit
        self._reported = OnceAMinute()

    async def count_request(self, context: RequestContext, caller: object, principal: Principal | None) -> None:
        """Count a request of this caller. Raises: Problem 429, which is logged for the principal where there is one."""
        if context.policy is not None and context.policy.limits.get("exempt"):
            return
        limit, burst, policy = self._limit_of(principal)
        key = rate_limit_key(caller)
        if wait := (await self._bursts.hit(burst, key))[0]:
            raise self._exceeded(context, key, "burst", burst, wait, principal)
        wait, remaining, seconds = await self.counters.hit(limit, key)
        if wait:
            raise self._exceeded(context, key, "default", limit, wait, principal)
        context.rate_limit = (
            (b"ratelimit-policy", policy),
            (b"ratelimit", b'"default";r=%d;t=%d' % (remaining, seconds)),
        )

    def _limit_of(self, principal: Principal | None) -> ParsedLimit:
        if principal and _limit_of:
            try:
                return self._parsed(_limit_of[0](principal) or self._usual)
            except Exception:  # the owner's function, or what it returned
                log.exception("the function of limit_of_caller failed: RATE_LIMIT counts instead")
        return self._parsed(self._usual)

    async def count_route(
        self, context: RequestContext, caller: object, limit: RateLimitItem, cost: int, *, critical: bool
    ) -> None:
        """Count a request against the limit of a route. Raises: Problem 429; 503 if `critical` and Redis is down."""
        key = rate_limit_key(caller)
        if wait := (await self.counters.hit(limit, key, cost))[0]:
            raise self._exceeded(context, key, "route", limit, wait, None)
        if critical and self.counters.redis_is_down:
            raise Problem(503, detail="Try again in a moment.", headers={"Retry-After": str(RETRY_SECONDS)})

    def _exceeded(
        self, context: RequestContext, key: str, name: str, limit: RateLimitItem, wait: int, principal: Principal | None
    ) -> Problem:
        """429 with the headers of RFC 6585 and draft-ietf-httpapi-ratelimit-headers."""
        context.reason = "rate_limit"
        context.actor = principal.actor if principal else context.actor
        self._reported.record(key, Event.RATE_LIMIT_EXCEEDED, subject=key)
        left = f'"{name}";r=0;t={wait}'
        headers = {"Retry-After": str(wait), "RateLimit-Policy": _policy(name, limit), "RateLimit": left}
        return Problem(429, detail="Too many requests.", headers=headers)


def _policy(name: str, limit: RateLimitItem) -> str:
    return f'"{name}";q={limit.amount};w={limit.get_expiry()}'


class RateLimit:
    """Middleware that counts every request but the liveness probe."""

    def __init__(self, app: ASGIApp, limits: RateLimits, credentials: Credentials) -> None:
        self.app = app
        self.limits = limits
        self.cache = credentials.cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or context_in(scope).path == HEALTH_PATHS[0]:
            return await self.app(scope, receive, send)
        context = context_in(scope)
        scope["state"]["rate_limits"] = self.limits
        cached = self.cache.get(context.sent[0].key) if len(context.sent) == 1 else None
        try:
            await self.limits.count_request(context, context.rate_limit_key, cached)
        except Problem as refusal:
            return await errors.respond(refusal, context.request_id)(scope, receive, send)
        await self.app(scope, receive, send)


def install(app: FastAPI) -> None:
    limits = RateLimits(RateLimitSettings.current())
    credentials: Credentials = app.state.credentials

    async def count_account(connection: HTTPConnection, principal: Principal) -> None:
        """A request counted as an address counts for its account too, once its credential is verified."""
        await limits.count_request(context_in(connection.scope), principal.actor, principal)

    credentials.on_identified.append(count_account)
    app.add_middleware(RateLimit, limits=limits, credentials=credentials)
    app.state.hooks.checks.append(route_limits.ineffective)
    app.state.hooks.at_end.append(lambda app: limits.counters.close())
