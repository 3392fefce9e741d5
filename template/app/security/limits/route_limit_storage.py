"""Where slowapi counts when several processes share a Redis: it is synchronous, so its storage is one of its own."""

from typing import Any

from limits.storage import MemoryStorage, MovingWindowSupport, RedisStorage, Storage

from app.security.core.project import SLUG
from app.security.limits.limit_storage import Breaker, redis_options, share


class SharedOrAlone(Storage, MovingWindowSupport):
    """Counts in Redis, and in this process while Redis is away."""

    STORAGE_SCHEME = ["shared-or-alone"]

    def __init__(self, url: str, processes: int, breaker: Breaker) -> None:
        from redis.backoff import NoBackoff  # here, as in limit_storage.py
        from redis.retry import Retry

        super().__init__(url)
        options = {"retry": Retry(NoBackoff(), 0), "key_prefix": f"{SLUG}-routes", **redis_options()}
        self._together = RedisStorage(url, **options)
        self._alone = MemoryStorage()
        self._processes = processes
        self._breaker = breaker

    @property
    def is_away(self) -> bool:
        return self._breaker.is_open

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
