"""A limit before routing for every request: unknown paths, included routers and refused credentials alike.

Who was verified in the last minutes is counted as an account, from wherever they call; everyone else as an address
(IPv4, or the /64 of one IPv6 customer). So a noisy neighbour behind one address shuts out nobody who is known (ASVS
5.0 V2.4.1, V15.2.2; OWASP API4:2023).
"""

import hashlib
import hmac
import logging
import sys

from fastapi import FastAPI
from limits import RateLimitItem
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.credentials import Credentials, Principal, refuse
from app.security.access.routing import path_in
from app.security.admission.request_guard import HEALTH_PATHS
from app.security.core import events
from app.security.core.events import Event, OnceAMinute, RequestContext
from app.security.core.hooks import hooks_of
from app.security.core.problems import Problem
from app.security.core.secret_keys import keys_for
from app.security.http import errors
from app.security.limits.limit_settings import RateLimitSettings, is_spawned
from app.security.limits.limit_storage import Limits, Windows

log = logging.getLogger(__name__)


def limit_key(caller: object) -> str:
    """Under which key a caller is counted, an account or an address; who reads the storage or a log learns nothing."""
    return hmac.new(keys_for("limits")[0], str(caller).encode(), hashlib.sha256).hexdigest()[:32]


def too_many(item: RateLimitItem, wait: int, name: str) -> Problem:
    """429 with the headers of RFC 6585 and draft-ietf-httpapi-ratelimit-headers; `wait` in seconds."""
    headers = {
        "Retry-After": str(wait),
        "RateLimit-Policy": f'"{name}";q={item.amount};w={item.get_expiry()}',
        "RateLimit": f'"{name}";r=0;t={wait}',
    }
    return Problem(429, detail="Too many requests.", headers=headers)


class Counting:
    """Who is counted how often, for one app."""

    def __init__(self, limits: Limits, limit: RateLimitItem, burst: RateLimitItem) -> None:
        self.limits = limits
        self.limit = limit
        self.burst = burst
        self._of_burst = burst.amount, burst.get_expiry()
        self.bursts = Windows()  # counted in this process, wherever the rest is
        self.reported = OnceAMinute()
        self._keys: dict[object, str] = {}

    async def hit(self, caller: object, context: RequestContext) -> Problem | None:
        """Count a request of this caller; the refusal, when it is one too many."""
        key = self._key(caller)
        refused, wait = self.burst, self.bursts.hit(key, *self._of_burst)
        if not wait:
            refused, wait = self.limit, await self.limits.hit(self.limit, key)
        if not wait:
            return None
        context.reason = "rate_limit"
        if self.reported.is_due(key):
            events.record(Event.RATE_LIMIT_EXCEEDED, outcome="failure", subject=key)
        return too_many(refused, wait, "burst" if refused is self.burst else "default")

    def _key(self, caller: object) -> str:
        known = self._keys.get(caller)
        if known is None:
            if len(self._keys) >= 10_000:
                self._keys.clear()
            known = self._keys[caller] = limit_key(caller)
        return known


class RateLimit:
    def __init__(self, app: ASGIApp, counting: Counting) -> None:
        self.app = app
        self.counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or path_in(scope) == HEALTH_PATHS[0]:
            return await self.app(scope, receive, send)
        state = scope["state"]
        refusal = await self.counting.hit(state["counted_as"], state["context"])
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await errors.respond(refusal, state["context"].request_id)(scope, receive, send)


def install(app: FastAPI) -> None:
    chosen = RateLimitSettings.current()
    limits = app.state.limits = Limits(chosen.url, chosen.web_concurrency)
    counting = Counting(limits, chosen.limit, chosen.burst)
    credentials: Credentials = app.state.credentials

    async def charge(connection: HTTPConnection, principal: Principal) -> None:
        """Who was let in as an address is counted as an account as soon as it is known."""
        if connection.scope["state"]["counted_as"] == principal.actor:
            return
        refusal = await counting.hit(principal.actor, connection.state.context)
        if refusal is not None:
            raise refuse(connection, refusal, "rate_limit")

    credentials.on_identified.append(charge)
    app.add_middleware(RateLimit, counting=counting)
    hooks_of(app).at_end.append(lambda app: limits.close())
    if chosen.counts_alone and (chosen.web_concurrency > 1 or _is_worker()):  # in development; production has refused
        log.warning("each of several processes counts requests for itself: set RATE_LIMIT_STORAGE_URL")


def _is_worker() -> bool:
    """Whether this is one of `uvicorn --workers 2`; a worker knows by what command it was started."""
    return is_spawned() and any(word.partition("=")[0] == "--workers" for word in sys.argv)
