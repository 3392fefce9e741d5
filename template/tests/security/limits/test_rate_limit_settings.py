"""Settings that would weaken the limits fail at start-up, and no value is printed."""

import multiprocessing
from multiprocessing.context import SpawnProcess

import pytest
from limits import parse

from app.security.core import settings
from app.security.limits.caller_limits import RateLimitSettings
from tests.security.fixtures import MakeClient

URL = "RATE_LIMIT_STORAGE_URL"


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("RATE_LIMIT", "often", False),
        ("RATE_LIMIT", "0/minute", False),
        ("RATE_LIMIT", "50/minute;5/hour", False),
        ("RATE_LIMIT_BURST", "", True),
        ("RATE_LIMIT_BURST", "0", False),
        ("RATE_LIMIT_BURST", "50/second, 5/minute", False),
        (URL, "memcached://x", False),
        (URL, "redis://u:hunter2@db:6379/0", False),
        (URL, "redis://u:hunter2@127.0.0.1:6379/0", True),
        (URL, "redis://u:hunter2@[::1]:6379/0", True),
        (URL, "redis://private:6379/0", True),
        (URL, "rediss://u:hunter2@db:6379/0", True),
        (URL, "rediss://db/0", False),
        (URL, "rediss://db:6379/0?ssl_cert_reqs=none", False),
        (URL, "rediss://db:6379/0?ssl_check_hostname=false", False),
        (URL, "rediss://db:6379/0?hunter2%0A=1", False),
        (URL, "rediss://db:6379/0?ssl_ca_certs=/no/such/hunter2", False),
        (URL, f"rediss://db:6379/0?ssl_ca_certs={__file__}", True),
        (URL, f"redis://127.0.0.1:6379/0?ssl_ca_certs={__file__}", False),
        (URL, "REDIS://u:hunter2@db:6379/0", False),
        (URL, "MEMORY://", False),
        (URL, "redis://u:hunter2#x@db:6379/0", False),
        ("WEB_CONCURRENCY", "0", False),
        ("WEB_CONCURRENCY", "2", False),
        ("INSTANCES", "2", False),
    ],
)
def test_a_weak_setting_is_refused_in_production(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, accepted: bool
) -> None:
    for variable, text in {"FASTAPI_ENV": "production", "PLAINTEXT_HOSTS": "private", name: value}.items():
        monkeypatch.setenv(variable, text)
    settings.forget()

    found = [reason for reason in settings.problems() if reason.startswith(("RATE_LIMIT", "WEB_CONCURRENCY"))]

    settings.forget()
    assert accepted is not bool(found)
    assert "hunter2" not in str(found)


@pytest.mark.slow
def test_one_of_several_workers_without_redis_does_not_start(
    make_client: MakeClient, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "current_process", SpawnProcess)  # as `uvicorn --workers 2` does

    make_client(RATE_LIMIT_STORAGE_URL="memory://")  # in development --reload spawns a process, too
    make_client(production=True, RATE_LIMIT_STORAGE_URL="rediss://db:6379/0")
    with pytest.raises(SystemExit) as refusal:
        make_client(production=True, RATE_LIMIT_STORAGE_URL="memory://")

    assert refusal.value.code == 78
    assert "RATE_LIMIT_STORAGE_URL: several processes" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "burst"),
    [
        ({"rate_limit": "10/minute"}, "20 per 1 second"),
        ({"rate_limit": "6000/minute"}, "400 per 1 second"),
        ({"rate_limit": "6000/minute", "rate_limit_burst": "5/second"}, "5 per 1 second"),
    ],
)
def test_the_burst_follows_the_limit_unless_it_is_set(chosen: dict[str, str], burst: str) -> None:
    settings = RateLimitSettings(**chosen)  # type: ignore[arg-type]

    assert str(settings.burst(parse(settings.rate_limit))) == burst
