"""What is wrong with this configuration, in words or as JSON; the exit code says whether anything is."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path

from dotenv import dotenv_values
from fastapi import FastAPI
from pydantic import ValidationError

from app.database import Database, DatabaseSettings
from app.security.access.policy import InsecureApp, Policies
from app.security.conflicts import conflicts, project_files
from app.security.core import logs, settings
from app.security.core.hooks import Hint, hooks_of
from app.security.core.settings import ROOT, environment, in_production, problems
from app.security.operations import migrations, policy_words, start_up
from app.security.operations.terminal import kind_of

ITEM = "  - "  # how a refusal begins each of its reasons
OURS = ROOT / "app/security"
SWITCH = "FASTAPI_ENV is not set, which is production; for development: FASTAPI_ENV=development uv run manage doctor"


@dataclass
class Report:
    environment: str
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    not_provided: dict[str, str] = field(default_factory=dict)
    public_routes: list[str] = field(default_factory=list)
    exceptions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def as_text(self) -> str:
        unset = "" if os.environ.get("FASTAPI_ENV") else " (FASTAPI_ENV is not set)"
        lines = [f"Environment: {self.environment}{unset}"]
        lines += [f"Problem: {problem}" for problem in self.problems] or ["No problem found."]
        lines += [f"Note: {hint}" for hint in self.hints]
        lines += [f"Public: {name}" for name in self.public_routes]
        lines += [f"Exception: {name}: {what}" for name, what in self.exceptions.items()]
        lines += [f"Not provided: {what}; instead: {instead}" for what, instead in self.not_provided.items()]
        return "\n".join(lines)


async def examine(load_app: Callable[[], FastAPI]) -> Report:
    """Settings, the database and the app itself, as far as each can be looked at."""
    wrong = settings.wrong_environment()
    if wrong:
        os.environ["FASTAPI_ENV"] = "production"  # as which the rest is looked at
    app, said = _load(load_app)
    report = Report("unknown" if wrong else environment(), not_provided=not_provided())
    refused = [*wrong, *problems()]
    report.problems = list(dict.fromkeys([*refused, *said, *await _database_problems()]))
    if app is not None:
        await _look(app, report)
    if set(said) <= set(refused):  # or settings classes of yours may be unknown
        report.hints += _notes_on_env_file()
    if report.problems and not os.environ.get("FASTAPI_ENV"):
        report.hints.append(SWITCH)
    return report


def _load(load_app: Callable[[], FastAPI]) -> tuple[FastAPI | None, list[str]]:
    """The app, or why there is none, as whoever starts it would read it."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            import_module("app.security.compose")  # so that our settings are known, whatever your code does
            app = load_app()
    except SystemExit as error:
        return None, _reasons(written.getvalue()) or [f"the app ends while it is put together (exit code {error.code})"]
    except InsecureApp as error:
        return None, _reasons(str(error))
    except SyntaxError as error:
        return None, list(conflicts(project_files())) or [_in_words(error)]
    except Exception as error:  # your code, so anything
        return None, [_in_words(error)]
    sys.stderr.write(written.getvalue())
    return app, []


def _reasons(text: str) -> list[str]:
    """The lines of a refusal, without its head."""
    lines = [logs.redact(line) for line in text.splitlines() if line.strip()]
    return [line.removeprefix(ITEM) for line in lines if line.startswith(ITEM)] or lines


def _in_words(error: Exception) -> str:
    message = error.msg if isinstance(error, SyntaxError) else logs.redact(str(error))
    return ": ".join(filter(None, [_place(error), type(error).__name__, message]))


def _place(error: Exception) -> str:
    """The last line of your own code on the way to this error."""
    found = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        found.append((error.filename, error.lineno))
    paths = [(Path(name), line) for name, line in found]
    yours = [
        f"{path.relative_to(ROOT)}, line {line}"
        for path, line in paths
        if path.is_relative_to(ROOT) and not path.is_relative_to(OURS) and "site-packages" not in path.parts
    ]
    return yours[-1] if yours else ""


async def _database_problems() -> list[str]:
    if not _may_be_asked():
        return []
    try:
        behind = sum((await migrations.state()).behind)
    except Exception as error:
        return [await _unreachable(error)]
    return [f"{behind} migrations are waiting: run `uv run manage migrate`"] if behind else []


def _may_be_asked() -> bool:
    """Whether the database's settings are sound: a password is never sent to where production would not send it."""
    try:
        chosen = settings.read(DatabaseSettings)
    except ValidationError:
        return False
    return not (in_production() and chosen.weaknesses())


async def _unreachable(error: Exception) -> str:
    if getattr(getattr(error, "orig", None), "sqlstate", "") == "42501":  # insufficient_privilege
        return "the database's role may not do this: docs/security/controls.md says what to grant it"
    return f"the database cannot be reached ({await kind_of(error)})"  # what the driver says may hold the address


async def _look(app: FastAPI, report: Report) -> None:
    try:
        policies = start_up.check_app(app)
    except InsecureApp as error:
        report.problems += _reasons(str(error))
        return
    report.public_routes = sorted(policy.name for policy in policies.all if policy.public)
    found = {policy.name: policy_words.exceptions(policy) for policy in policies.all}
    report.exceptions = {name: words for name, words in found.items() if words}
    if not report.problems:
        try:
            report.hints = await _ask(hooks_of(app).hints, policies)
            report.problems += await _ask(hooks_of(app).faults, policies)
        except Exception as error:
            report.problems.append(await _unreachable(error))


async def _ask(looks: list[Hint], policies: Policies) -> list[str]:
    found: list[str] = []
    database = Database()
    try:
        async with database.engine.connect():
            pass  # whether the app reaches what migrations do
        for look in looks:
            async with database.begin() as db:
                found += await look(db, policies)
    finally:
        await database.close()
    return found


def _notes_on_env_file() -> list[str]:
    """What is odd about `.env`: names that do nothing, and who can read it."""
    path = settings.env_file
    names = {name.upper() for name in dotenv_values(path)} if path and path.is_file() else set()
    notes = ["FASTAPI_ENV in .env is not read: set it in the process"] if "FASTAPI_ENV" in names else []
    if path and path.is_file() and os.name == "posix" and path.stat().st_mode & 0o077:
        notes.append("others on this machine can read the secrets in .env: chmod 600 .env")
    unknown = sorted(names - settings.known_names() - {"FASTAPI_ENV"})
    return [*notes, *(f"{name} in .env is no setting of this service: is it misspelt?" for name in unknown)]


def not_provided() -> dict[str, str]:
    """What this project's answers leave uncovered, and what stands in for it; from the page that says so."""
    page = ROOT / "docs/security/not-provided.md"
    if not page.is_file():
        return {}  # an image holds no documents
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in rows[1:]}
