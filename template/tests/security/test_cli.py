"""`manage`: secrets, migrations, and what it says about the app and its configuration."""

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from typer.testing import CliRunner

from app.main import create_app
from app.security import cli, logs, settings
from app.security.cli import command_line
from app.security.identity import Authenticate, public, require_scope
from app.security.request_guard import accepts, deadline
from app.security.route_policy import Policy
from app.security.secret_keys import decode_secret
from app.security.settings import ROOT
from tests.security.assembled import assemble, caller_of, forgotten
from tests.security.copied import Copy
from tests.security.fixtures import BASE_ENVIRONMENT, PRODUCTION_ENVIRONMENT

Environment = Callable[..., None]
Manage = Callable[..., Result]


@pytest.fixture
def manage(environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Manage:
    """Type `manage …` in a project that lies in `tmp_path`, with this app."""
    monkeypatch.setattr(logs._Output, "to_stderr", False)  # commands write events to stderr: put it back afterwards
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "looking_only", False)

    def run(*arguments: str, load: Callable[[], FastAPI] = create_app) -> Result:
        return CliRunner().invoke(command_line(load), arguments)

    return run


# Secrets


def test_each_new_secret_is_strong_and_another_one(manage: Manage) -> None:
    secrets = {manage("secrets", "new").stdout.strip() for _ in range(3)}

    assert len(secrets) == 3
    assert [len(decode_secret(secret)) for secret in secrets] == [64] * 3


def test_a_fresh_clone_gets_a_secret_that_only_its_owner_reads(manage: Manage, tmp_path: Path) -> None:
    result = manage("secrets", "new", "--write")

    written = tmp_path / ".env"
    found = re.fullmatch(r"SECRET_KEY=(\w+)\n", written.read_text())
    assert result.exit_code == 0
    assert found
    assert len(decode_secret(found[1])) == 64
    assert found[1] not in result.output
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_a_secret_that_is_there_is_never_replaced(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=mine\n")

    assert manage("secrets", "new", "--write").exit_code == 1

    assert (tmp_path / ".env").read_text() == "SECRET_KEY=mine\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_takes_no_secret(manage: Manage, tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    manage("secrets", "new", "--write")

    ignored = subprocess.run(["git", "check-ignore", ".env"], cwd=tmp_path, capture_output=True, text=True)

    assert ignored.stdout == ".env\n"


# What a command needs


def test_a_fresh_clone_needs_a_secret_and_nothing_else_to_begin(tmp_path: Path) -> None:
    clone = Copy(tmp_path)
    del clone.variables["SECRET_KEY"]

    written = clone.run("app.manage", "secrets", "new", "--write")
    clone.migrate()
    doctor = clone.run("app.manage", "doctor")

    assert written.returncode == 0, written.stderr
    assert (tmp_path / ".env").is_file()
    assert doctor.returncode == 1  # it is production, where this app does not start yet
    assert "Problem: PUBLIC_BASE_URL" in doctor.stdout
    assert "SECRET_KEY" not in doctor.stdout


@pytest.mark.parametrize("name", ["PUBLIC_BASE_URL", "TRUSTED_HOSTS", "FASTAPI_ENV"])
def test_weak_settings_stop_no_migration(manage: Manage, environment: Environment, name: str) -> None:
    environment(**PRODUCTION_ENVIRONMENT | {name: ""})

    migrated = manage("migrate")

    assert migrated.exit_code == 0
    assert migrated.stdout.endswith("The database is up to date.\n")


# Routes


def test_every_route_is_named_once_with_who_may_call_it(manage: Manage, environment: Environment) -> None:
    app = create_app()

    lines = manage("routes", load=lambda: app).stdout.splitlines()

    whom = {tuple(line.split()[:2]): line.split(maxsplit=2)[2] for line in lines}
    served = {(",".join(sorted(one.methods or ["*"])), str(one.path)) for one in iter_route_contexts(app.routes)}
    assert len(whom) == len(lines)
    assert {name for name in served if "/docs/assets" not in name[1]} <= whom.keys()
    assert whom["GET", "/health/live"] == "everyone"


class ForKeepers(Authenticate):
    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.roles.add(frozenset({"keeper", "admin"}))


@pytest.mark.parametrize(
    ("dependency", "whom"),
    [
        (public, "everyone"),
        (Depends(Authenticate()), "callers"),
        (require_scope("scratch:read"), "callers, scope scratch:read"),
        (Depends(ForKeepers()), "callers, role admin or keeper"),
    ],
)
def test_what_a_route_asks_for_is_shown_with_it(manage: Manage, dependency: Any, whom: str) -> None:
    def load() -> FastAPI:
        app = assemble(lambda app: app.get("/a", dependencies=[dependency])(forgotten))
        app.state.credentials.kinds[0].always_limited = False  # or a route without scope may be refused
        return app

    result = manage("routes", load=load)
    assert re.search(rf"^GET /a +{whom}$", result.stdout, re.MULTILINE)


def test_weak_settings_do_not_stop_the_list_and_what_is_looked_at_never_serves(
    manage: Manage, environment: Environment
) -> None:
    environment(FASTAPI_ENV="production")
    apps: list[FastAPI] = []

    def load() -> FastAPI:
        apps.append(create_app())
        return apps[0]

    result = manage("routes", load=load)
    assert result.exit_code == 0
    assert "GET /health/live" in result.stdout
    assert caller_of(apps[0]).get("/health/live").status_code == 500


# Doctor


def test_a_sound_configuration_is_found_sound(manage: Manage) -> None:
    result = manage("doctor")

    assert result.exit_code == 0
    assert "Environment: development" in result.stdout
    assert "Public: GET /health/live" in result.stdout
    assert "No problem found." in result.stdout
    assert manage("doctor", "--json").exit_code == 0


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_every_weakness_is_named_and_no_value_is_shown(
    manage: Manage, environment: Environment, form: tuple[str, ...]
) -> None:
    environment(FASTAPI_ENV="production", SECRET_KEY="changethis-changethis", DATABASE_URL="mysql://u:hunter2@db/x")

    result = manage("doctor", *form)

    assert result.exit_code == 1
    for name in ("SECRET_KEY", "DATABASE_URL", "PUBLIC_BASE_URL", "TRUSTED_HOSTS"):
        assert f"{name}: " in result.stdout
    assert [secret for secret in ("changethis", "hunter2", "mysql") if secret in result.output] == []


def test_the_same_is_said_as_json(manage: Manage, environment: Environment) -> None:
    environment(FASTAPI_ENV="production")

    result = manage("doctor", "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert report.keys() == {"environment", "problems", "hints", "not_provided", "public_routes", "exceptions"}
    assert any(problem.startswith("PUBLIC_BASE_URL") for problem in report["problems"])


def test_a_forgotten_route_is_a_problem(manage: Manage) -> None:
    result = manage("doctor", load=lambda: assemble(lambda app: app.get("/forgotten")(forgotten)))

    assert result.exit_code == 1
    assert "/forgotten" in result.stdout


def test_declared_exceptions_are_listed(manage: Manage) -> None:
    upload = [public, accepts("multipart/form-data", max_bytes=5_000_000), deadline(None)]

    result = manage("doctor", load=lambda: assemble(lambda app: app.post("/upload", dependencies=upload)(forgotten)))

    assert "Public: POST /upload" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("Exception: POST /upload"))
    assert [word for word in ("multipart/form-data", "5000000", "None") if word not in line] == []


def test_waiting_migrations_and_a_lost_database_are_problems(
    manage: Manage, environment: Environment, tmp_path: Path
) -> None:
    environment(DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    waiting = manage("doctor")
    environment(DATABASE_URL=f"sqlite:///{tmp_path / 'no/such/folder.sqlite3'}")
    lost = manage("doctor")

    assert (waiting.exit_code, lost.exit_code) == (1, 1)
    assert "manage migrate" in waiting.stdout
    assert "cannot be reached" in lost.stdout
    assert "no/such/folder" not in lost.output


@pytest.mark.parametrize("arguments", [("nonsense",), ("secrets", "show"), ("migrate", "head"), ("doctor", "--fix")])
def test_what_is_no_command_is_refused(manage: Manage, arguments: tuple[str, ...]) -> None:
    assert manage(*arguments).exit_code == 2


def test_no_command_shows_the_secret(manage: Manage) -> None:
    outputs = [manage(*words).output for words in (["doctor"], ["doctor", "--json"], ["routes"], ["migrate"])]

    assert BASE_ENVIRONMENT["SECRET_KEY"] not in "".join(outputs)
