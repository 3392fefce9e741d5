"""How much one caller may ask and where it is counted; a setting that would weaken the limits stops the start."""

import multiprocessing
import os
from math import ceil
from multiprocessing.context import SpawnProcess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from dotenv import dotenv_values
from limits import RateLimitItem, parse, parse_many
from pydantic import Field, SecretStr, field_validator, model_validator

from app.database import LOOPBACK, DatabaseSettings
from app.security.core import settings
from app.security.core.settings import SecuritySettings

LEAST_BURST = 20  # requests in one second
BURST_FACTOR = 4  # times what the limit allows in one second on average


class RateLimitSettings(SecuritySettings):
    rate_limit: str = "300/minute"
    rate_limit_burst: str = ""  # counted in each process; empty: see `burst`
    rate_limit_storage_url: SecretStr = SecretStr("memory://")  # or redis://…, rediss://… to count together
    web_concurrency: int = Field(1, ge=1)  # processes; uvicorn starts as many

    @field_validator("rate_limit", "rate_limit_burst")
    @classmethod
    def _is_a_limit(cls, value: str) -> str:
        try:
            limits = parse_many(value) if value else []
            fits = len(limits) <= 1 and all(limit.amount > 0 for limit in limits)  # a second one would not count
        except ValueError:
            fits = False
        if not fits:
            raise ValueError("write a limit such as 300/minute")
        return value

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _is_supported(cls, value: SecretStr) -> SecretStr:
        wrong = _wrong_storage(value.get_secret_value())
        if wrong:
            raise ValueError(wrong)
        return value

    @model_validator(mode="after")
    def _nothing_switches_it_off(self) -> "RateLimitSettings":
        names = {*os.environ, *(dotenv_values(settings.env_file) if settings.env_file else ())}
        if any(name.upper().startswith("RATELIMIT_") for name in names):
            raise ValueError("a variable RATELIMIT_… is set: slowapi reads it, and it can switch limits off")
        return self

    @property
    def url(self) -> str:
        return self.rate_limit_storage_url.get_secret_value()

    @property
    def limit(self) -> RateLimitItem:
        return parse(self.rate_limit)

    @property
    def burst(self) -> RateLimitItem:
        """What one caller may ask in one second. Who raises the limit raises this with it, unless it is set."""
        average = self.limit.amount / self.limit.get_expiry()
        return parse(self.rate_limit_burst or f"{max(LEAST_BURST, ceil(BURST_FACTOR * average))}/second")

    @property
    def counts_alone(self) -> bool:
        """Each process counts for itself."""
        return self.url.startswith("memory:")

    def weaknesses(self) -> list[str]:
        if self.counts_alone:
            several = self.web_concurrency > 1 or is_spawned()
            return ["RATE_LIMIT_STORAGE_URL: several processes need a Redis to count together"] if several else []
        known = (*LOOPBACK, *DatabaseSettings.current().plaintext_hosts)
        plain = self.url.startswith("redis:") and urlsplit(self.url).hostname not in known
        return ["RATE_LIMIT_STORAGE_URL: needs rediss://, or its host among PLAINTEXT_HOSTS"] if plain else []


def is_spawned() -> bool:
    """uvicorn spawns its workers, and `--workers` is told to no setting; for `--reload` it spawns one, too."""
    return isinstance(multiprocessing.current_process(), SpawnProcess)


def _wrong_storage(address: str) -> str:
    """What is wrong with the address of the storage, without any of its values."""
    try:
        url = urlsplit(address)
        complete = url.scheme == "memory" or bool(url.scheme in ("redis", "rediss") and url.hostname and url.port)
    except ValueError:  # which quotes what it does not understand
        complete = False
    if not complete or not address.startswith(f"{url.scheme}:"):  # redis-py knows it in lower case alone
        return "write memory:// or rediss://user:password@host:6379/0"
    for name, value in parse_qsl(url.query, keep_blank_values=True):  # redis-py takes ssl_cert_reqs=none from here
        if name != "ssl_ca_certs" or url.scheme != "rediss":
            shown = name if name.isascii() and name.isidentifier() and len(name) <= 40 else "such parameter"
            return f"takes no {shown}: ssl_ca_certs is the only one, and goes with rediss"
        if not Path(value).is_file():
            return "the file of ssl_ca_certs is not there"
    return ""
