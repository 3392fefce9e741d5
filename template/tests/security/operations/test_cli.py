"""`manage`: secrets, and who may call which route."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import WebSocketRoute

from app.main import create_app
from app.security.core.settings import ROOT, decode_secret
from tests.security.build_app import assemble, caller_of, forgotten
from tests.security.fixtures import BASE_ENVIRONMENT
from tests.security.terminal import Manage

Environment = Callable[..., None]


# Secrets


def test_each_new_secret_is_strong_and_different(manage: Manage) -> None:
    secrets = {manage("secrets", "new").stdout.strip() for _ in range(3)}

    assert [len(decode_secret(secret)) for secret in secrets] == [64] * 3


def test_a_new_env_file_has_a_secret_that_only_its_owner_can_read(manage: Manage, tmp_path: Path) -> None:
    result = manage("secrets", "new", "--write")

    written = tmp_path / ".env"
    secret = written.read_text().strip().removeprefix("SECRET_KEY=")
    assert (result.exit_code, len(decode_secret(secret))) == (0, 64)
    assert secret not in result.output
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_an_existing_env_file_keeps_its_secret_and_is_hidden_from_others(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=mine\n")
    (tmp_path / ".env").chmod(0o644)

    assert manage("secrets", "new", "--write").exit_code == 1

    assert (tmp_path / ".env").read_text() == "SECRET_KEY=mine\n"
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


# Routes


def test_every_route_is_listed_once_with_its_callers(manage: Manage, environment: Environment) -> None:
    app = create_app()

    lines = manage("routes", load=lambda: app).stdout.splitlines()

    callers = {tuple(line.split()[:2]): line.split(maxsplit=2)[2] for line in lines}
    routes = [(one, isinstance(one.original_route, WebSocketRoute)) for one in iter_route_contexts(app.routes)]
    served = {(",".join(sorted(one.methods or ["WEBSOCKET" if socket else "*"])), one.path) for one, socket in routes}
    assert len(callers) == len(lines)
    assert {name for name in served if "/docs/assets" not in name[1]} <= callers.keys()
    assert callers["GET", "/health/live"] == "everyone"


def test_an_unprotected_route_is_named_instead_of_the_list(manage: Manage) -> None:
    result = manage("routes", load=lambda: assemble(lambda app: app.get("/forgotten")(forgotten)))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "  - GET /forgotten requires no authentication" in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.slow
def test_weak_settings_do_not_stop_the_list_and_the_app_never_serves(manage: Manage, environment: Environment) -> None:
    environment(FASTAPI_ENV="production")
    apps: list[FastAPI] = []

    def load() -> FastAPI:
        apps.append(create_app())
        return apps[0]

    result = manage("routes", load=load)
    assert result.exit_code == 0
    assert "GET /health/live" in result.stdout
    assert caller_of(apps[0]).get("/health/live").status_code == 500


@pytest.mark.parametrize("command", ["routes", "doctor"])
def test_an_app_without_protections_is_one_sentence(manage: Manage, command: str) -> None:
    result = manage(command, load=FastAPI)

    assert result.exit_code == 1
    assert "secure(app)" in result.output
    assert isinstance(result.exception, SystemExit)


# Every command


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("nonsense",), ("secrets", "show"), ("migrate", "head"), ("doctor", "--fix")])
def test_an_unknown_command_is_refused(manage: Manage, arguments: tuple[str, ...]) -> None:
    assert manage(*arguments).exit_code == 2


@pytest.mark.slow
def test_no_command_shows_the_secret(manage: Manage) -> None:
    outputs = [manage(*words).output for words in (["doctor"], ["doctor", "--json"], ["routes"], ["migrate"])]

    assert BASE_ENVIRONMENT["SECRET_KEY"] not in "".join(outputs)
