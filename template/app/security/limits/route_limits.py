"""`@limiter.limit("5/minute")` for single routes, directly above the function: slowapi, without its silent traps.

It counts after the caller is known. A limit that would be off without a word stops the start. While Redis is away each
process allows its share; a limit that must never be exceeded is `critical=True`, and then answers 503.
"""

import functools
import inspect
import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from starlette.requests import Request

from app.security.core.problems import Problem
from app.security.http.client_address import client_ip, client_prefix
from app.security.limits.caller_limits import limit_key, too_many
from app.security.limits.limit_settings import RateLimitSettings
from app.security.limits.limit_storage import RETRY_SECONDS, Limits
from app.security.limits.route_limit_storage import SharedOrAlone

KeyFunction = Callable[..., str]


def caller_key(request: Request) -> str:
    """The account that calls, or else the address."""
    principal = request.scope["state"].get("principal")
    return limit_key(principal.id if principal else client_prefix(client_ip(request.scope)))


class RouteLimiter(Limiter):
    """slowapi's limiter; its 429 is ours, and what it would pass over in silence is an error."""

    def __init__(self) -> None:
        self._critical: set[str] = set()
        self._shared: SharedOrAlone | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "not found": it should read no file
            super().__init__(
                key_func=caller_key,
                key_style="endpoint",
                strategy="moving-window",
                storage_uri="memory://",
                storage_options={},
                headers_enabled=False,
                swallow_errors=False,
                config_filename=os.devnull,
            )

    def decorated(self) -> dict[str, list[Callable[..., Any]]]:
        """The functions under each name that limits were put on."""
        return dict(self._Limiter__marked_for_limiting)  # type: ignore[attr-defined]

    def exempted(self) -> set[str]:
        """The names of functions that no limit is asked for."""
        return set(self._exempt_routes)

    def methods_of(self, function: Callable[..., Any]) -> list[Sequence[str] | None]:
        """For which methods each limit of a function counts; None is for all."""
        name = _name(inspect.unwrap(function))
        fixed = [limit.methods for limit in self._route_limits.get(name, ())]
        return [*fixed, *(group.methods for group in self._dynamic_route_limits.get(name, ()))]

    def count_in(self, storage: MemoryStorage | SharedOrAlone) -> None:
        self._storage = storage
        self._shared = storage if isinstance(storage, SharedOrAlone) else None
        self._limiter = MovingWindowRateLimiter(storage)

    def limit(  # type: ignore[override]  # the rest of its options are passed on
        self,
        limit_value: str | Callable[..., str],
        key_func: KeyFunction | None = None,
        *,
        critical: bool = False,
        **options: Any,
    ) -> Callable[..., Any]:
        """As slowapi's; a `critical` one refuses what cannot be counted.

        Raises: ValueError for what is no limit, TypeError for a function that takes no request.
        """
        cost = options.get("cost", 1)
        if isinstance(cost, int) and cost < 1:
            raise ValueError("a request that costs nothing is never limited")
        decorator = super().limit(_checked(limit_value), key_func and _never_empty(key_func), **options)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            _check_takes_request(function)
            if critical:
                self._critical.add(_name(function))
            decorated: Callable[..., Any] = decorator(function)
            return decorated

        return decorate

    def shared_limit(  # type: ignore[override]
        self,
        limit_value: str | Callable[..., str],
        scope: str | Callable[..., str],
        key_func: KeyFunction | None = None,
        **options: Any,
    ) -> Callable[..., Any]:
        """As slowapi's: one count for every route of this scope. Raises: as `limit`."""
        decorator: Callable[..., Any] = super().shared_limit(
            _checked(limit_value), scope, key_func and _never_empty(key_func), **options
        )

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            _check_takes_request(function)
            decorated: Callable[..., Any] = decorator(function)
            return decorated

        return decorate

    def _check_request_limit(self, request: Request, endpoint_func: Callable[..., Any] | None, *rest: Any) -> None:
        try:
            super()._check_request_limit(request, endpoint_func, *rest)
        except RateLimitExceeded:
            item, names = request.state.view_rate_limit
            raise too_many(item, self._wait(item, names), "route") from None
        alone = self._shared is not None and self._shared.is_away
        if alone and endpoint_func is not None and _name(endpoint_func) in self._critical:
            raise Problem(503, detail="Try again in a moment.", headers={"Retry-After": str(int(RETRY_SECONDS))})

    def _wait(self, item: RateLimitItem, names: list[str]) -> int:
        """Whole seconds until the oldest hit has left the window."""
        return max(1, int(self._limiter.get_window_stats(item, *names).reset_time - time.time()) + 1)


def _name(function: Callable[..., Any]) -> str:
    """How slowapi calls a function."""
    name = getattr(function, "__name__", type(function).__name__)  # an object that is called has none
    return f"{function.__module__}.{name}"


def _check_takes_request(function: Callable[..., Any]) -> None:
    """slowapi finds out who calls by a parameter of that name. Raises: TypeError."""
    if {"request", "websocket"}.isdisjoint(inspect.signature(function).parameters):
        raise TypeError(f"@limiter.limit on {_name(function)} has to see who calls: add request: Request")


def _checked(limit_value: str | Callable[..., str]) -> str | Callable[..., str]:
    """Raises: ValueError for what is no limit; what a function returns is looked at when it does."""
    if isinstance(limit_value, str):
        parse_many(limit_value)
        return limit_value

    @functools.wraps(limit_value)
    def checked(*arguments: Any, **options: Any) -> str:
        value = limit_value(*arguments, **options)
        try:
            parse_many(value)
        except ValueError as error:  # slowapi would log it and let the request pass
            raise TypeError(f"{value!r} is no limit") from error
        return value

    return checked


def _never_empty(key_func: KeyFunction) -> KeyFunction:
    """An empty key would switch the limit off."""
    takes_request = "request" in inspect.signature(key_func).parameters

    def key(request: Request) -> str:
        return (key_func(request) if takes_request else key_func()) or caller_key(request)

    return key


limiter = RouteLimiter()


def install(app: FastAPI) -> None:
    chosen = RateLimitSettings.current()
    limits: Limits = app.state.limits
    if chosen.counts_alone:
        limiter.count_in(MemoryStorage())
    else:
        limiter.count_in(SharedOrAlone(chosen.url, chosen.web_concurrency, limits.breaker))
