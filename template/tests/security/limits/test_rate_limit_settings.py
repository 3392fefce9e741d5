"""Settings that would weaken the limits stop the start; no value is printed."""

import multiprocessing
import sys
from multiprocessing.context import SpawnProcess

import pytest

from app.security.limits.limit_settings import RateLimitSettings
from tests.security.fixtures import MakeClient


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RATE_LIMIT": "often"}, "RATE_LIMIT"),
        ({"RATE_LIMIT_BURST": ""}, None),
        ({"RATE_LIMIT_BURST": "0"}, "RATE_LIMIT_BURST"),
        ({"RATE_LIMIT": "0/minute"}, "RATE_LIMIT"),
        ({"RATE_LIMIT_STORAGE_URL": "memcached://x"}, "RATE_LIMIT_STORAGE_URL"),
        ({"RATE_LIMIT_STORAGE_URL": "redis://u:hunter2@db:6379/0"}, "RATE_LIMIT_STORAGE_URL"),
        ({"RATE_LIMIT_STORAGE_URL": "redis://u:hunter2@127.0.0.1:6379/0"}, None),
        ({"RATE_LIMIT_STORAGE_URL": "redis://u:hunter2@[::1]:6379/0"}, None),
        ({"RATE_LIMIT_STORAGE_URL": "redis://db:6379/0", "PLAINTEXT_HOSTS": "db"}, None),
        ({"RATE_LIMIT_STORAGE_URL": "rediss://u:hunter2@db:6379/0"}, None),
        ({"RATE_LIMIT_STORAGE_URL": "rediss://db/0"}, "RATE_LIMIT_STORAGE_URL"),
        ({"RATE_LIMIT": "50/minute;5/hour"}, "RATE_LIMIT"),
        ({"RATE_LIMIT_BURST": "50/second, 5/minute"}, "RATE_LIMIT_BURST"),
        ({"RATE_LIMIT_STORAGE_URL": "rediss://u:hunter2@db:6379/0?ssl_cert_reqs=none"}, "takes no ssl_cert_reqs"),
        ({"RATE_LIMIT_STORAGE_URL": "rediss://db:6379/0?ssl_check_hostname=false"}, "takes no ssl_check_hostname"),
        ({"RATE_LIMIT_STORAGE_URL": "rediss://db:6379/0?hunter2%0A=1"}, "RATE_LIMIT_STORAGE_URL"),
        (
            {"RATE_LIMIT_STORAGE_URL": "rediss://db:6379/0?ssl_ca_certs=/no/such/hunter2"},
            "of ssl_ca_certs is not there",
        ),
        ({"RATE_LIMIT_STORAGE_URL": f"rediss://db:6379/0?ssl_ca_certs={__file__}"}, None),
        ({"RATE_LIMIT_STORAGE_URL": f"redis://127.0.0.1:6379/0?ssl_ca_certs={__file__}"}, "RATE_LIMIT_STORAGE_URL"),
        ({"RATE_LIMIT_STORAGE_URL": "REDIS://u:hunter2@db:6379/0"}, "RATE_LIMIT_STORAGE_URL"),
        ({"RATE_LIMIT_STORAGE_URL": "MEMORY://"}, "RATE_LIMIT_STORAGE_URL"),
        ({"RATE_LIMIT_STORAGE_URL": "redis://u:hunter2#x@db:6379/0"}, "RATE_LIMIT_STORAGE_URL"),
        ({"WEB_CONCURRENCY": "2"}, "RATE_LIMIT_STORAGE_URL"),
        ({"WEB_CONCURRENCY": "2", "RATE_LIMIT_STORAGE_URL": "rediss://db:6379/0"}, None),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY"),
        ({"RATELIMIT_ENABLED": "false"}, "RATELIMIT_"),
        ({"ratelimit_enabled": "0"}, "RATELIMIT_"),
        ({"RATELIMIT_DEFAULT": "1/minute"}, "RATELIMIT_"),
    ],
)
def test_a_setting_that_would_weaken_the_limits_stops_production(
    make_client: MakeClient, capfd: pytest.CaptureFixture[str], variables: dict[str, str], named: str | None
) -> None:
    if named is None:
        make_client(production=True, **variables)
        return

    with pytest.raises(SystemExit) as refusal:
        make_client(production=True, **variables)

    printed = capfd.readouterr().err
    assert refusal.value.code == 78
    assert named in printed
    assert "hunter2" not in printed


def test_one_of_several_workers_that_would_count_alone_does_not_start(
    make_client: MakeClient, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "current_process", SpawnProcess)  # uvicorn --workers 2

    make_client(production=True, RATE_LIMIT_STORAGE_URL="rediss://db:6379/0")
    make_client(RATE_LIMIT_STORAGE_URL="memory://", FASTAPI_ENV="development")  # --reload starts one, too
    with pytest.raises(SystemExit) as refusal:
        make_client(production=True, RATE_LIMIT_STORAGE_URL="memory://")

    assert refusal.value.code == 78
    assert "RATE_LIMIT_STORAGE_URL: several processes" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["uvicorn", "app.main:app", "--workers", "2"], {}, True),
        (["uvicorn", "app.main:app", "--workers=2"], {}, True),
        (["uvicorn", "app.main:app", "--workers=2"], {"RATE_LIMIT_STORAGE_URL": "redis://127.0.0.1:1/0"}, False),
        (["uvicorn", "app.main:app", "--reload"], {}, False),
        (["uvicorn", "app.main:app"], {"WEB_CONCURRENCY": "2"}, True),
    ],
)
def test_workers_that_count_alone_in_development_are_told(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    variables: dict[str, str],
    said: bool,
) -> None:
    monkeypatch.setattr(multiprocessing, "current_process", SpawnProcess)
    monkeypatch.setattr(sys, "argv", words)

    make_client(FASTAPI_ENV="development", **variables)

    assert ("counts requests for itself" in caplog.text) is said


@pytest.mark.parametrize(
    ("chosen", "limit", "burst"),
    [
        ({"rate_limit": "300/minute"}, "300 per 1 minute", "20 per 1 second"),
        ({"rate_limit": "10/minute"}, "10 per 1 minute", "20 per 1 second"),
        ({"rate_limit": "6000/minute"}, "6000 per 1 minute", "400 per 1 second"),
        ({"rate_limit": "6000/minute", "rate_limit_burst": "5/second"}, "6000 per 1 minute", "5 per 1 second"),
    ],
)
def test_a_burst_follows_the_limit_unless_it_is_set(chosen: dict[str, str], limit: str, burst: str) -> None:
    settings = RateLimitSettings(**chosen)  # type: ignore[arg-type]

    assert (str(settings.limit), str(settings.burst)) == (limit, burst)
