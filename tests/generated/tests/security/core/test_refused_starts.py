"""A process with weak settings ends with exit code 78 and lists every reason."""

import os
import secrets
import subprocess
import sys

import pytest

from app.security.core.settings import ROOT

GOOD = secrets.token_hex(32)


def start(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name not in ("FASTAPI_ENV", "SECRET_KEY")}
    command = [
        sys.executable,
        "-c",
        "from app.security.core import settings; settings.env_file = None; import app.main",
    ]
    return subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True)


def test_a_refused_start_lists_everything_and_exits_with_78() -> None:
    done = start(SECRET_KEY="too-short-hunter2", DATABASE_URL="postgresql://u:hunter2@db.example.com/x", DEBUG="true")

    assert done.returncode == 78
    for name in ("SECRET_KEY", "DATABASE_URL", "DEBUG", "PUBLIC_BASE_URL", "TRUSTED_HOSTS"):
        assert done.stderr.count(f"- {name}:") == 1
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unset", [{}, {"FASTAPI_ENV": ""}])
def test_an_unset_environment_is_production(unset: dict[str, str]) -> None:
    done = start(SECRET_KEY=GOOD, **unset)

    assert done.returncode == 78
    assert "TRUSTED_HOSTS" in done.stderr


def test_there_is_no_third_environment() -> None:
    done = start(SECRET_KEY=GOOD, FASTAPI_ENV="staging")

    assert done.returncode == 78
    assert "FASTAPI_ENV" in done.stderr


def test_development_starts_with_a_secret_alone() -> None:
    assert start(SECRET_KEY=GOOD, FASTAPI_ENV="development").returncode == 0


def test_the_start_of_a_fresh_clone_names_the_command_for_a_secret() -> None:
    done = start(FASTAPI_ENV="development")

    assert done.returncode == 78
    assert "manage secrets new --write" in done.stderr
