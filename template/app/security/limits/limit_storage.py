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
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.security.core.project import SLUG

log = logging.getLogger(__name__)
CAPACITY = 50_000  # callers that are counted in one process; the one who came longest ago is forgotten first
TIMEOUT_SECONDS = 0.25  # for Redis to connect, and to answer
RETRY_SECONDS = 5.0  # that Redis is left alone after a failure
Window = tuple[float, int, int]  # when it began, hits in the one before it, hits in it


class Windows:
    """Sliding windows of this process in a bounded mapping: a hit costs the same however many callers there are.

    The library's own storage looks through all of them at every hit. A window begins with its caller's first hit, as
    in Redis, so that no burst of somebody new falls into two.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, Window] = OrderedDict()

    def hit(self, key: str, limit: int, expiry: int) -> int:
        """Count a hit if it fits, and return 0; else how many whole seconds it has to wait. `expiry` is in seconds."""
        now = time.time()
        began, previous, current = self._known.get(key, (now, 0, 0))
        age = now - began
        if not -expiry < age < 2 * expiry:  # a clock may be set back a little
            began, previous, current = now, 0, 0
        elif age >= expiry:
            began, previous, current = began + expiry, current, 0
        left = began + expiry - now
        if int(previous * left / expiry) + current >= limit:
            return seconds_to_wait(limit, expiry, previous, left, current, left + expiry)
        self._known[key] = (began, previous, current + 1)
        self._known.move_to_end(key)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        return 0


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
        self._alone = Windows()
        self._processes = processes
        self.breaker = Breaker()
        self._together: SlidingWindowCounterRateLimiter | None = None
        if not url.startswith("memory:"):
            from redis.asyncio.retry import Retry  # here: to import Redis takes half as long as FastAPI
            from redis.backoff import NoBackoff

            retry = Retry(NoBackoff(), 0)
            options = {"implementation": "redispy", "key_prefix": SLUG, "retry": retry, **redis_options()}
            self._together = SlidingWindowCounterRateLimiter(RedisStorage(f"async+{url}", **options))

    async def hit(self, item: RateLimitItem, key: str) -> int:
        """Count one request; 0 when it may go on, else how many seconds it has to wait."""
        if self._together is None:
            return self._alone.hit(key, item.amount, item.get_expiry())
        if self.breaker.may_ask():
            try:
                wait = await _hit(self._together, item, key)
            except Exception as error:  # whatever it is, requests go on
                self.breaker.failed(error)
            else:
                self.breaker.succeeded()
                return wait
        return self._alone.hit(key, share(item.amount, self._processes), item.get_expiry())

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
