"""The rate limit of each caller, before routing: it counts unknown paths and refused credentials too.

A caller verified in the last minutes is counted as an account from every address. Any other is counted as an address
(IPv4, or the /64 of an IPv6 customer), so that a noisy neighbour behind the same address locks no known caller out
(ASVS 5.0 V2.4.1, V15.2.2; OWASP API4:2023).
"""

import hashlib
import hmac
from functools import lru_cache

from fastapi import FastAPI
from limits import RateLimitItem
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.context import RequestContext, context_in, context_of
from app.security.access.credentials import Credentials, Principal
from app.security.access.policy import hooks_of
from app.security.admission.request_guard import HEALTH_PATHS
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import Problem
from app.security.core.secret_keys import keys_for
from app.security.http import errors
from app.security.limits.counters import RETRY_SECONDS, Counters
from app.security.limits.settings import RateLimitSettings


@lru_cache(maxsize=10_000)
def rate_limit_key(caller: object) -> str:
    """The pseudonym under which a caller is counted: Redis and the log hold no address and no account."""
    return hmac.new(keys_for("limits")[0], str(caller).encode(), hashlib.sha256).hexdigest()[:32]


class RateLimits:
    """The limits of one app and the counters for them."""

    def __init__(self, settings: RateLimitSettings) -> None:
        self.counters = Counters(settings.url, settings.web_concurrency)
        self._bursts = Counters("memory://", 1)  # in this process, even with Redis
        self._limit, self._burst = settings.limit, settings.burst
        self._reported = OnceAMinute()

    async def count_request(self, context: RequestContext, caller: object) -> None:
        """Count a request of this caller. Raises: Problem 429."""
        key = rate_limit_key(caller)
        if wait := await self._bursts.hit(self._burst, key):
            raise self._exceeded(context, key, "burst", self._burst, wait)
        if wait := await self.counters.hit(self._limit, key):
            raise self._exceeded(context, key, "default", self._limit, wait)

    async def count_route(
        self, context: RequestContext, caller: object, limit: RateLimitItem, cost: int, *, critical: bool
    ) -> None:
        """Count a request against the limit of a route. Raises: Problem 429; 503 if `critical` and Redis is down."""
        key = rate_limit_key(caller)
        if wait := await self.counters.hit(limit, key, cost):
            raise self._exceeded(context, key, "route", limit, wait)
        if critical and self.counters.redis_is_down:
            raise Problem(503, detail="Try again in a moment.", headers={"Retry-After": str(RETRY_SECONDS)})

    def _exceeded(self, context: RequestContext, key: str, name: str, limit: RateLimitItem, wait: int) -> Problem:
        """429 with the headers of RFC 6585 and draft-ietf-httpapi-ratelimit-headers."""
        context.reason = "rate_limit"
        self._reported.record(key, Event.RATE_LIMIT_EXCEEDED, subject=key)
        headers = {
            "Retry-After": str(wait),
            "RateLimit-Policy": f'"{name}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{name}";r=0;t={wait}',
        }
        return Problem(429, detail="Too many requests.", headers=headers)


class RateLimit:
    """Middleware that counts every request but the liveness probe."""

    def __init__(self, app: ASGIApp, limits: RateLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or context_in(scope).path == HEALTH_PATHS[0]:
            return await self.app(scope, receive, send)
        context = context_in(scope)
        scope["state"]["rate_limits"] = self.limits
        try:
            await self.limits.count_request(context, context.rate_limit_key)
        except Problem as refusal:
            return await errors.respond(refusal, context.request_id)(scope, receive, send)
        await self.app(scope, receive, send)


def install(app: FastAPI) -> None:
    limits = RateLimits(RateLimitSettings.current())
    credentials: Credentials = app.state.credentials

    async def count_account(connection: HTTPConnection, principal: Principal) -> None:
        """A request counted as an address counts for its account too, once its credential is verified."""
        context = context_of(connection)
        if context.rate_limit_key != principal.actor:
            await limits.count_request(context, principal.actor)

    credentials.on_identified.append(count_account)
    app.add_middleware(RateLimit, limits=limits)
    hooks_of(app).at_end.append(lambda app: limits.counters.close())
