"""Sliding windows: in the memory of this process, or in Redis for all processes together.

While Redis is unavailable each process enforces its share of a limit: neither everything nor nothing is allowed.
"""

import logging
import math
import time
from collections import OrderedDict
from typing import Any

from limits import RateLimitItem

from app.security.core.settings import SLUG

log = logging.getLogger(__name__)
CAPACITY = 50_000  # counters in one process; the least recently used is dropped first
TIMEOUT_SECONDS = 0.25  # for Redis to connect, and to respond
RETRY_SECONDS = 5  # between attempts to reach an unavailable Redis
Counted = tuple[int, int, int]  # whole seconds to wait, or 0; hits that are left; seconds until the window ends


class Memory:
    """Counters of this process: an attacker with many addresses can neither fill the memory nor slow a hit down."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    async def add(self, key: str, window: int, seconds: int, cost: int) -> tuple[int, int]:
        """Add `cost` to the counter of a window. Returns the counts of the previous window and of this one."""
        counted, previous, current = self._counts.pop(key, (window, 0, 0))
        if counted != window:
            previous, current = (current if counted == window - 1 else 0), 0
        self._counts[key] = window, previous, current + cost
        if len(self._counts) > CAPACITY:
            self._counts.popitem(last=False)
        return previous, current + cost


class Redis:
    """Counters in Redis; each call is one round trip."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import Redis as Client  # here, because this import takes half as long as FastAPI's
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
        if url.startswith("rediss:"):
            options["ssl_check_hostname"] = True  # before redis-py 6 any valid certificate would do
        self.client = Client.from_url(url, retry=Retry(NoBackoff(), 0), **options)

    async def add(self, key: str, window: int, seconds: int, cost: int) -> tuple[int, int]:
        before, current = (f"{SLUG}:{{{key}}}:{number}" for number in (window - 1, window))
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.get(before)
            pipe.incrby(current, cost)
            pipe.expire(current, 2 * seconds)
            previous, count, _ = await pipe.execute()
        return int(previous or 0), int(count)


class Counters:
    """Counts hits against limits. `url` is memory:// or a Redis; `processes` is how many share a limit without it."""

    def __init__(self, url: str, processes: int) -> None:
        self.redis_is_down = False
        self._redis = None if url == "memory://" else Redis(url)
        self._memory = Memory()
        self._processes = processes
        self._retry_at = 0.0

    async def hit(self, limit: RateLimitItem, key: str, cost: int = 1) -> Counted:
        """Count a hit. One that exceeds the limit has to wait, and is not counted."""
        if self._redis is None:
            return await _hit(self._memory, limit, key, limit.amount, cost)
        if not self.redis_is_down or time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_SECONDS  # while Redis is down, one request alone retries
            try:
                counted = await _hit(self._redis, limit, key, limit.amount, cost)
            except Exception as error:  # requests must still be served and limited
                if not self.redis_is_down:
                    name = type(error).__name__
                    log.error("Redis is unavailable (%s): each process enforces its share of the limits", name)
                self.redis_is_down = True
            else:
                if self.redis_is_down:
                    log.warning("Redis is available again: all processes count together")
                self.redis_is_down = False
                return counted
        return await _hit(self._memory, limit, key, max(1, limit.amount // self._processes), cost)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.client.aclose()


async def _hit(storage: Memory | Redis, limit: RateLimitItem, key: str, amount: int, cost: int) -> Counted:
    seconds = limit.get_expiry()
    key = f"{key}/{limit.amount}/{seconds}"
    window, passed = divmod(time.time(), seconds)
    left = seconds - passed
    previous, current = await storage.add(key, int(window), seconds, cost)
    # The previous window counts for the part of it that the sliding window still covers.
    used = math.ceil(previous * left / seconds) + current
    if used <= amount:
        return 0, amount - used, math.ceil(left)
    await storage.add(key, int(window), seconds, -cost)
    if current <= amount:  # until enough of the previous window has slid out
        wait = left - (amount - current) * seconds / previous
    else:  # until this window is the previous one, and enough of it has slid out
        wait = left + max(0.0, seconds - (amount - cost) * seconds / max(1, current - cost))
    return max(1, math.floor(wait) + 1), 0, math.ceil(left)
