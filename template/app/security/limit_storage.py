"""Where requests are counted: in this process, or in Redis for all of them, and what happens while Redis is away.

Redis that fails or hangs is left alone for some seconds. Meanwhile each process counts for itself, and allows its share
of the limit: neither everything nor nothing. Nothing that decides who may do what is ever kept there.
"""

import logging
import math
import time
from collections import OrderedDict
from typing import Any

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.storage.base import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.security.project import SLUG

log = logging.getLogger(__name__)
CAPACITY = 50_000  # callers that are counted in one process; the one who came longest ago is forgotten first
TIMEOUT_SECONDS = 0.25  # for Redis to connect, and to answer
RETRY_SECONDS = 5.0  # that Redis is left alone after a failure
Window = tuple[int, int, int]  # its number since 1970, hits in the one before it, hits in it


class BoundedMemory(Storage, SlidingWindowCounterSupport):
    """Sliding windows in a bounded mapping: a hit costs the same however many callers there are.

    The library's own storage looks through all of them at every hit.
    """

    STORAGE_SCHEME = ["async+bounded-memory"]

    def __init__(self) -> None:
        super().__init__()
        self._windows: OrderedDict[str, Window] = OrderedDict()

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a hit if it fits. There is no point where another one could come between."""
        previous, previous_left, current, _ = self._window(key, expiry)
        if math.floor(previous * previous_left / expiry) + current + amount > limit:
            return False
        self._windows[key] = (int(time.time() // expiry), previous, current + amount)
        self._windows.move_to_end(key)
        if len(self._windows) > CAPACITY:
            self._windows.popitem(last=False)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Hits in the window before and for how long they still count, hits in this one and for how long."""
        return self._window(key, expiry)

    def _window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = time.time()
        number, left = int(now // expiry), expiry - now % expiry
        known, previous, current = self._windows.get(key, (number, 0, 0))
        if known == number - 1:
            previous, current = current, 0
        elif known != number:
            previous, current = 0, 0
        return previous, left, current, left + expiry

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    async def get(self, key: str) -> int:
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        self._windows.clear()
        return None

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        self._windows.pop(key, None)


class Breaker:
    """Says whether Redis may be asked: not for some seconds after it failed, and then by one caller alone."""

    def __init__(self) -> None:
        self._again = 0.0
        self.is_open = False

    def may_ask(self) -> bool:
        if not self.is_open:
            return True
        if time.monotonic() < self._again:
            return False
        self._again = time.monotonic() + RETRY_SECONDS
        return True

    def failed(self, error: BaseException) -> None:
        if not self.is_open:
            log.error("Redis is away (%s): each process counts for itself", type(error).__name__)
        self.is_open = True
        self._again = time.monotonic() + RETRY_SECONDS

    def succeeded(self) -> None:
        if self.is_open:
            log.warning("Redis is back: requests are counted together again")
        self.is_open = False


def redis_options() -> dict[str, Any]:
    return {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}


def share(limit: int, processes: int) -> int:
    """What one process allows while it counts alone."""
    return max(1, limit // processes)


class Limits:
    """Counts requests. `url` is memory:// or that of a Redis; `processes` share a limit where each counts alone."""

    def __init__(self, url: str, processes: int) -> None:
        self._alone = SlidingWindowCounterRateLimiter(BoundedMemory())
        self._processes = processes
        self.breaker = Breaker()
        self._together: SlidingWindowCounterRateLimiter | None = None
        if not url.startswith("memory:"):
            retry = Retry(NoBackoff(), 0)
            options = {"implementation": "redispy", "key_prefix": SLUG, "retry": retry, **redis_options()}
            self._together = SlidingWindowCounterRateLimiter(RedisStorage(f"async+{url}", **options))

    async def hit(self, item: RateLimitItem, key: str) -> int:
        """Count one request; 0 when it may go on, else how many seconds it has to wait."""
        if self._together is not None and self.breaker.may_ask():
            try:
                wait = await _hit(self._together, item, key)
            except Exception as error:  # whatever it is, requests go on
                self.breaker.failed(error)
            else:
                self.breaker.succeeded()
                return wait
        if self._together is not None:
            item = type(item)(share(item.amount, self._processes), item.multiples)
        return await self.hit_alone(item, key)

    async def hit_alone(self, item: RateLimitItem, key: str) -> int:
        """The same, counted in this process whatever the storage is."""
        return await _hit(self._alone, item, key)

    async def close(self) -> None:
        if self._together is not None:
            await self._together.storage.bridge.get_connection().aclose()  # type: ignore[attr-defined]


async def _hit(limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, key: str) -> int:
    if await limiter.hit(item, key):
        return 0
    window = await limiter.storage.get_sliding_window(item.key_for(key), item.get_expiry())  # type: ignore[attr-defined]
    return seconds_to_wait(item.amount, item.get_expiry(), *window)


def seconds_to_wait(
    limit: int, expiry: int, previous: int, previous_left: float, current: int, current_left: float
) -> int:
    """Whole seconds until one more hit fits into the sliding window, at least one."""
    if current < limit:  # until enough of the window before has slid out
        wait = previous_left - (limit - current) * expiry / previous if previous else 0.0
    else:  # until this window is the one before, and a little of it has slid out
        wait = current_left - expiry
    return max(1, math.floor(wait) + 1)
