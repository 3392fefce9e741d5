"""Settings of the rate limits: how many requests a caller may make, and where they are counted."""

import multiprocessing
from math import ceil
from multiprocessing.context import SpawnProcess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from limits import RateLimitItem, parse, parse_many
from pydantic import Field, SecretStr, field_validator

from app.database import LOOPBACK, DatabaseSettings
from app.security.core.settings import SecuritySettings

MIN_BURST = 20  # requests in one second
BURST_FACTOR = 4  # times the average of RATE_LIMIT


class RateLimitSettings(SecuritySettings):
    rate_limit: str = "300/minute"
    rate_limit_burst: str = ""  # counted in each process; empty: see `burst`
    rate_limit_storage_url: SecretStr = SecretStr("memory://")  # or redis://…, rediss://… to count together
    web_concurrency: int = Field(1, ge=1)  # number of processes that serve

    @field_validator("rate_limit", "rate_limit_burst")
    @classmethod
    def _is_one_limit(cls, value: str) -> str:
        try:
            if not value or [limit.amount > 0 for limit in parse_many(value)] == [True]:
                return value
        except ValueError:
            pass
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

    @property
    def limit(self) -> RateLimitItem:
        return parse(self.rate_limit)

    @property
    def burst(self) -> RateLimitItem:
        """Requests of one caller in one second: as set, or a multiple of the average of RATE_LIMIT."""
        average = self.limit.amount / self.limit.get_expiry()
        return parse(self.rate_limit_burst or f"{max(MIN_BURST, ceil(BURST_FACTOR * average))}/second")

    def weaknesses(self) -> list[str]:
        if self.url == "memory://":
            # `uvicorn --workers 2` spawns its workers and sets no variable.
            spawned = isinstance(multiprocessing.current_process(), SpawnProcess)
            several = "RATE_LIMIT_STORAGE_URL: several processes need a Redis to count together"
            return [several] if spawned or self.web_concurrency > 1 else []
        private = (*LOOPBACK, *DatabaseSettings.current().plaintext_hosts)
        plain = self.url.startswith("redis:") and urlsplit(self.url).hostname not in private
        return ["RATE_LIMIT_STORAGE_URL: needs rediss://, or its host among PLAINTEXT_HOSTS"] if plain else []
