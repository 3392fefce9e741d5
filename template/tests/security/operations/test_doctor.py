"""`manage doctor`: every problem is named, whatever else is wrong, and no value is shown."""

import json
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.security.core import settings
from tests.security.build_app import assemble, forgotten
from tests.security.fixtures import PRODUCTION_ENVIRONMENT
from tests.security.terminal import Manage

Environment = Callable[..., None]


@pytest.mark.slow
def test_a_sound_configuration_has_no_problem(manage: Manage) -> None:
    result = manage("doctor")

    assert result.exit_code == 0
    assert "Environment: development" in result.stdout
    assert "Public: GET /health/live" in result.stdout
    assert "No problem found." in result.stdout


def test_every_weakness_is_named_and_no_value_is_shown(manage: Manage, environment: Environment) -> None:
    environment(FASTAPI_ENV="production", SECRET_KEY="changethis-changethis", DATABASE_URL="mysql://u:hunter2@db/x")

    text, report = manage("doctor"), manage("doctor", "--json")

    assert (text.exit_code, report.exit_code) == (1, 1)
    problems = json.loads(report.stdout)["problems"]
    for name in ("SECRET_KEY", "DATABASE_URL", "PUBLIC_BASE_URL", "TRUSTED_HOSTS"):
        assert f"Problem: {name}: " in text.stdout
        assert [problem for problem in problems if problem.startswith(f"{name}: ")]
    assert [secret for secret in ("changethis", "hunter2", "mysql") if secret in text.output + report.output] == []


@pytest.mark.slow
def test_an_unprotected_route_is_a_problem(manage: Manage) -> None:
    result = manage("doctor", load=lambda: assemble(lambda app: app.get("/forgotten")(forgotten)))

    assert result.exit_code == 1
    assert "/forgotten" in result.stdout


@pytest.mark.slow
def test_waiting_migrations_and_a_lost_database_are_problems(
    manage: Manage, environment: Environment, tmp_path: Path
) -> None:
    environment(DATABASE_URL=f"sqlite:///{tmp_path / 'app.sqlite3'}")
    fresh = manage("doctor")  # the next start in development migrates it
    sqlite3.connect(tmp_path / "app.sqlite3").execute("CREATE TABLE yours (id)").connection.close()
    waiting = manage("doctor")
    environment(DATABASE_URL=f"sqlite:///{tmp_path / 'no/such/folder.sqlite3'}")
    lost = manage("doctor")

    assert (fresh.exit_code, waiting.exit_code, lost.exit_code) == (0, 1, 1)
    assert "No problem found." in fresh.stdout
    assert "Note: the database is empty" in fresh.stdout
    assert "migrations are waiting: run `uv run manage migrate`" in waiting.stdout
    assert "cannot be used" in lost.stdout
    assert "no/such/folder" not in lost.output


@pytest.mark.slow
def test_the_password_is_not_sent_to_a_database_that_production_refuses(
    manage: Manage, environment: Environment
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"LOCALHOST:{server.getsockname()[1]}"  # in capitals, so that it is not taken for this machine
        environment(**PRODUCTION_ENVIRONMENT | {"DATABASE_URL": f"postgresql://api:hunter2@{address}/api"})

        assert "DATABASE_URL: needs sslmode=verify-full" in manage("doctor").stdout

        with pytest.raises(TimeoutError):
            server.accept()


def fail_with(error: BaseException) -> Callable[[], FastAPI]:
    def load() -> FastAPI:
        raise error

    return load


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (SystemExit(3), "the app exits while it is built (exit code 3)"),
        (ValueError("postgresql://api:hunter2@db"), "ValueError: postgresql://[redacted]@db"),
    ],
)
def test_an_app_that_cannot_be_built_is_one_problem_among_others(
    manage: Manage, environment: Environment, error: BaseException, problem: str
) -> None:
    environment(MAX_URL_BYTES="1")

    problems = json.loads(manage("doctor", "--json", load=fail_with(error)).stdout)["problems"]

    assert problem in problems
    assert [other for other in problems if other.startswith("MAX_URL_BYTES: ")]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "notes"), [(0o640, 1), (0o600, 0)])
def test_an_env_file_and_a_sqlite_file_that_others_can_read_are_named(
    manage: Manage, environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int, notes: int
) -> None:
    environment(DATABASE_URL=f"sqlite:///{tmp_path / 'app.sqlite3'}")
    manage("migrate")
    (tmp_path / ".env").touch()
    monkeypatch.setattr(settings, "env_file", tmp_path / ".env")
    for name in (".env", "app.sqlite3"):
        (tmp_path / name).chmod(mode)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)  # files of another user: a connection cannot make them private

    printed = manage("doctor").stdout

    counts = [printed.count(f"chmod 600 {tmp_path / name}\n") for name in (".env", "app.sqlite3")]
    assert counts == [notes, notes]
