"""Several workers that would count alone do not start, whichever server they belong to; a single one does."""

import multiprocessing
import sys
from multiprocessing.context import SpawnProcess

import pytest

from app.security.core import settings
from app.security.limits.caller_limits import RateLimitSettings

SEVERAL = [
    "uvicorn app.main:app --workers 2",
    "uvicorn app.main:app --workers=2",
    "fastapi run --workers 2",
    "gunicorn app.main:app -k uvicorn_worker.UvicornWorker -w 4",
    "gunicorn app.main:app -w4",
    "hypercorn app.main:app -w 2",
    "granian --interface asgi --workers 12 app.main:app",
]
ONE = [
    "uvicorn app.main:app",
    "hypercorn app.main:app",
    "hypercorn -w 1 app.main:app",
    "granian --workers 1 app.main:app",
]


@pytest.mark.parametrize("command", SEVERAL)
def test_several_workers_need_a_redis(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(sys, "argv", command.split())

    assert RateLimitSettings().weaknesses() == [
        "RATE_LIMIT_STORAGE_URL: several processes need a Redis to count together"
    ]


@pytest.mark.parametrize("command", ONE)
def test_one_worker_needs_none(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(sys, "argv", command.split())
    if command.startswith("hypercorn"):
        monkeypatch.setattr(multiprocessing, "current_process", SpawnProcess)

    assert RateLimitSettings().weaknesses() == []


@pytest.mark.parametrize(
    ("program", "parent", "code"), [("uvicorn", None, 78), ("uvicorn", "server", 3), ("/usr/bin/gunicorn", None, 3)]
)
def test_a_refused_worker_ends_its_server_instead_of_being_restarted(
    monkeypatch: pytest.MonkeyPatch, program: str, parent: str | None, code: int
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)

    with pytest.raises(SystemExit) as refusal:
        settings.refuse(["A: is missing"])

    assert refusal.value.code == code


def test_a_refusal_says_that_an_unset_environment_is_production(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FASTAPI_ENV")

    with pytest.raises(SystemExit):
        settings.refuse(["A: is missing"])

    assert "production (FASTAPI_ENV is not set; on your machine: uv run fastapi dev):" in capsys.readouterr().err
