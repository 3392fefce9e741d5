"""`@limiter.limit("5/minute")` for single routes, directly above the function: slowapi, without its silent traps.

It counts after the caller is known. A limit that would be off without a word stops the start.
"""

import inspect
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, MovingWindowSupport, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from starlette.requests import Request

from app.security.caller_limits import RateLimitSettings, limit_key, too_many
from app.security.client_address import client_ip
from app.security.limit_storage import Breaker, Limits, redis_options, share
from app.security.project import SLUG

KeyFunction = Callable[..., str]


def caller_key(request: Request) -> str:
    """The account that calls, or else the address."""
    principal = request.scope["state"].get("principal")
    return limit_key(principal.id if principal else None, client_ip(request.scope))


class SharedOrAlone(Storage, MovingWindowSupport):
    """Counts in Redis, and in this process while Redis is away."""

    STORAGE_SCHEME = ["shared-or-alone"]

    def __init__(self, url: str, processes: int, breaker: Breaker) -> None:
        super().__init__(url)
        options = {"retry": Retry(NoBackoff(), 0), "key_prefix": f"{SLUG}-routes", **redis_options()}
        self._together = RedisStorage(url, **options)
        self._alone = MemoryStorage()
        self._processes = processes
        self._breaker = breaker

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        alone = share(limit, self._processes)
        return bool(self._ask("acquire_entry", (key, limit, expiry, amount), (key, alone, expiry, amount)))

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        found: tuple[float, int] = self._ask("get_moving_window", (key, limit, expiry), (key, limit, expiry))
        return found

    def _ask(self, method: str, together: tuple[Any, ...], alone: tuple[Any, ...]) -> Any:
        if self._breaker.may_ask():
            try:
                answer = getattr(self._together, method)(*together)
            except Exception as error:  # whatever it is, requests go on
                self._breaker.failed(error)
            else:
                self._breaker.succeeded()
                return answer
        return getattr(self._alone, method)(*alone)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    def get(self, key: str) -> int:
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return self._alone.reset()

    def clear(self, key: str) -> None:
        self._alone.clear(key)


class RouteLimiter(Limiter):
    """slowapi's limiter; its 429 is ours, and what it would pass over in silence is an error."""

    def __init__(self) -> None:
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

    def count_in(self, storage: MemoryStorage | SharedOrAlone) -> None:
        self._storage = storage
        self._limiter = MovingWindowRateLimiter(storage)

    def limit(  # type: ignore[override]  # the rest of its options are passed on
        self, limit_value: str | Callable[..., str], key_func: KeyFunction | None = None, **options: Any
    ) -> Callable[..., Any]:
        """As slowapi's. Raises: ValueError for what is no limit."""
        if isinstance(limit_value, str):
            parse_many(limit_value)
        decorator: Callable[..., Any] = super().limit(limit_value, key_func and _never_empty(key_func), **options)
        return decorator

    def _check_request_limit(self, request: Request, *arguments: Any, **options: Any) -> None:
        try:
            super()._check_request_limit(request, *arguments, **options)
        except RateLimitExceeded:
            item, names = request.state.view_rate_limit
            raise too_many(item, self._wait(item, names)) from None

    def _wait(self, item: RateLimitItem, names: list[str]) -> int:
        """Whole seconds until the oldest hit has left the window."""
        return max(1, int(self._limiter.get_window_stats(item, *names).reset_time - time.time()) + 1)


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
