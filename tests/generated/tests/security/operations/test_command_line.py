"""What `manage` prints: plain text, without events between question and answer, and help for everything."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from typer.main import get_command

from app.main import create_app
from app.security import conflicts
from app.security.access import accounts
from app.security.access.identity import public
from app.security.admission.request_guard import accepts, deadline
from app.security.cli import command_line
from app.security.core import logs
from app.security.operations import doctor
from app.security.operations.terminal import run
from tests.security.build_app import assemble, forgotten
from tests.security.fixtures import BASE_ENVIRONMENT
from tests.security.terminal import Manage

Environment = Callable[..., None]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def create(db: AsyncSession) -> None:
    await accounts.create(db, "billing", kind="service")


@pytest.fixture(autouse=True)
def _output(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("readable", "silent"):
        monkeypatch.setattr(logs.Output, name, False)


def test_a_command_on_a_terminal_prints_no_events(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment()
    monkeypatch.setattr(sys, "stderr", Terminal())

    run(create)

    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_a_command_without_a_terminal_logs_its_events(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment()
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    run(create)

    events = [json.loads(line)["event"] for line in sys.stderr.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert "user_created" in events


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


def test_every_command_option_and_argument_has_help() -> None:
    bare = [
        (*words, parameter.name if parameter else "")
        for words, command in commands(get_command(command_line(create_app)))
        if words
        for parameter in (None, *command.params)
        if not (command.help if parameter is None else getattr(parameter, "help", None))
    ]

    assert bare == []


def test_help_and_mistakes_are_plain_text(manage: Manage) -> None:
    pages = [manage(*words, "--help").output for words, _ in commands(get_command(command_line(create_app)))]
    pages.append(manage("secrets", "show").output)

    assert [page for page in pages if any(odd in page for odd in ("\u2500", "\u2502", "<bool>"))] == []


def test_no_help_is_cut_off(manage: Manage) -> None:
    for words, command in commands(get_command(command_line(create_app))):
        if getattr(command, "commands", None):
            assert "..." not in manage(*words, "--help").output.replace("[ARGS]...", "")


def test_routes_shows_each_limit_in_words(manage: Manage) -> None:
    declared = [public, accepts("text/csv", max_bytes=5000), deadline(120)]
    result = manage("routes", load=lambda: assemble(lambda app: app.get("/a", dependencies=declared)(forgotten)))

    assert "everyone, accepts text/csv, max_bytes 5000, deadline 120" in result.stdout


def test_the_document_is_printed_without_a_database(manage: Manage, environment: Environment) -> None:
    environment(DATABASE_URL="postgresql://api:hunter2@127.0.0.1:1/api")

    result = manage("openapi")

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert "/health/live" in document["paths"]
    assert BASE_ENVIRONMENT["SECRET_KEY"] not in result.output


def test_the_document_needs_no_settings(manage: Manage, environment: Environment) -> None:
    environment(FASTAPI_ENV="", SECRET_KEY="", DATABASE_URL="")

    assert "/health/live" in json.loads(manage("openapi").stdout)["paths"]


def test_an_unprotected_route_is_named_instead_of_the_document(manage: Manage) -> None:
    result = manage("openapi", load=lambda: assemble(lambda app: app.get("/forgotten")(forgotten)))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "GET /forgotten" in result.stderr


def test_no_log_line_stands_in_the_document(manage: Manage) -> None:
    def load() -> FastAPI:
        app = create_app()
        logging.getLogger("owner").warning("assembled")
        return app

    json.loads(manage("openapi", load=load).stdout)


# Doctor


def test_doctor_says_first_what_it_judged_and_how_to_judge_a_laptop(
    manage: Manage, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    development = manage("doctor")
    environment(FASTAPI_ENV="")
    production = manage("doctor")

    assert development.output.splitlines()[0] == "Environment: development"
    assert production.output.splitlines()[0].startswith("Environment: production (FASTAPI_ENV is not set; ")
    assert "FASTAPI_ENV=development uv run manage doctor" in production.output
    assert (development.exit_code, production.exit_code) == (0, 1)


@pytest.fixture
def working_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder of a repository; its workflows lie at the repository's top."""
    root = tmp_path / "backend"
    (tmp_path / ".git").mkdir()
    for name in doctor.TEMPLATE_FILES:
        path = (tmp_path if name.startswith(".github") else root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if "." not in path.name else path.touch()
    monkeypatch.setattr(doctor, "ROOT", root)
    monkeypatch.setattr(conflicts, "ROOT", root)
    return root


def test_doctor_names_template_files_that_are_missing_or_moved(manage: Manage, working_copy: Path) -> None:
    complete = manage("doctor").stdout
    (working_copy / "docs/security").rename(working_copy / "lost")
    (working_copy / "server").mkdir()
    (working_copy / "tests").rename(working_copy / "server/tests")
    (working_copy / "server/tests/security/conftest.py").touch()

    printed = manage("doctor")

    assert "not where the template has it" not in complete
    assert "Note: docs/security is not where the template has it: " in printed.stdout
    assert f"Note: tests/security is not where the template has it (it is {working_copy}/server/tests/security" in (
        printed.stdout
    )
    assert printed.exit_code == 0


def test_a_deployed_service_may_lack_files(manage: Manage, working_copy: Path) -> None:
    (working_copy.parent / ".git").rmdir()
    (working_copy / "docs/security").rmdir()

    assert "not where the template has it" not in manage("doctor").stdout
