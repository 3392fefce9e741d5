"""`manage doctor`: checks the settings, the database, the files and the app, and reports without showing any value."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from dotenv import dotenv_values
from fastapi import FastAPI
from pydantic import ValidationError

from app.database import Database, DatabaseSettings, database_url, sqlite_files
from app.security.access.policy import InsecureApp, Policy, hooks_of
from app.security.conflicts import conflicts, project_files
from app.security.core import logs, settings
from app.security.core.settings import ROOT, environment, in_production, problems
from app.security.operations import migrations, start_up
from app.security.operations.terminal import kind_of

ITEM = "  - "  # each reason of a failed start-up begins with it
BOUNDS = {"maxLength", "enum", "const", "format", "pattern"}
SWITCH = "FASTAPI_ENV is not set, which is production; for development: FASTAPI_ENV=development uv run manage doctor"


@dataclass
class Report:
    environment: str
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    public_routes: list[str] = field(default_factory=list)
    exceptions: dict[str, str] = field(default_factory=dict)

    def as_text(self) -> str:
        unset = "" if os.environ.get("FASTAPI_ENV") else " (FASTAPI_ENV is not set)"
        lines = [f"Environment: {self.environment}{unset}"]
        lines += [f"Problem: {problem}" for problem in self.problems] or ["No problem found."]
        lines += [f"Note: {hint}" for hint in self.hints]
        lines += [f"Public: {name}" for name in self.public_routes]
        lines += [f"Exception: {name}: {allowed}" for name, allowed in self.exceptions.items()]
        return "\n".join(lines)


async def examine(load_app: Callable[[], FastAPI]) -> Report:
    wrong = settings.wrong_environment()
    if wrong:
        os.environ["FASTAPI_ENV"] = "production"  # for the checks that follow
    app, reasons = _load(load_app)
    report = Report("unknown" if wrong else environment())
    refused = [*wrong, *problems()]
    report.problems = list(dict.fromkeys([*refused, *reasons, *await _database_problems()]))
    if app is not None:
        await _check_app(app, report)
    report.hints += _file_hints()
    if set(reasons) <= set(refused):  # or the classes of your settings may not be imported
        report.hints += _env_file_hints()
    if report.problems and not os.environ.get("FASTAPI_ENV"):
        report.hints.append(SWITCH)
    return report


def _load(load_app: Callable[[], FastAPI]) -> tuple[FastAPI | None, list[str]]:
    """The app, or the reasons why it cannot be built."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            import_module("app.security.compose")  # defines the template's settings, even if your code fails
            app = load_app()
    except SystemExit as error:
        return None, _reasons(written.getvalue()) or [f"the app exits while it is built (exit code {error.code})"]
    except InsecureApp as error:
        return None, _reasons(str(error))
    except SyntaxError as error:
        return None, list(conflicts(project_files())) or [_explain(error, error.msg)]
    except Exception as error:  # your code may raise anything
        return None, [_explain(error, logs.redact(str(error)))]
    sys.stderr.write(written.getvalue())
    return app, []


def _reasons(text: str) -> list[str]:
    """The reasons in the message of a failed start-up."""
    lines = [logs.redact(line) for line in text.splitlines() if line.strip()]
    return [line.removeprefix(ITEM) for line in lines if line.startswith(ITEM)] or lines


def _explain(error: Exception, message: str) -> str:
    """The error, and the last line of your own code that led to it."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    yours = [
        f"{path.relative_to(ROOT)}, line {line}"
        for path, line in ((Path(name), line) for name, line in places)
        if path.is_relative_to(ROOT / "app") and not path.is_relative_to(ROOT / "app/security")
    ]
    return ": ".join(filter(None, [*yours[-1:], type(error).__name__, message]))


async def _database_problems() -> list[str]:
    try:
        chosen = settings.read(DatabaseSettings)
        if in_production() and chosen.weaknesses():
            return []  # never send the password to a server that production refuses
        behind = (await migrations.state()).behind
    except ValidationError:
        return []  # a problem of the settings
    except Exception as error:
        return [await _database_error(error)]
    return [f"{behind} migrations are waiting: run `uv run manage migrate`"] if behind else []


async def _database_error(error: Exception) -> str:
    if getattr(getattr(error, "orig", None), "sqlstate", "") == "42501":  # of a least-privilege role
        return "the database role lacks a privilege: docs/security/operations.md lists what to grant"
    return f"the database cannot be reached ({await kind_of(error)})"  # the driver's message may hold the address


async def _check_app(app: FastAPI, report: Report) -> None:
    try:
        policies = start_up.check_app(app)
    except InsecureApp as error:
        report.problems += _reasons(str(error))
        return
    report.public_routes = sorted(policy.name for policy in policies.all if policy.public)
    report.exceptions = {policy.name: allowed for policy in policies.all if (allowed := exceptions(policy))}
    if report.problems:
        return
    report.hints = list(loose_bodies(app.openapi()))
    database = Database()
    try:
        for hint in hooks_of(app).hints:
            async with database.begin() as db:
                report.hints += await hint(db, policies)
    except Exception as error:
        report.problems.append(await _database_error(error))
    finally:
        await database.close()


def _file_hints() -> list[str]:
    """Secrets and hashes that other users of this machine can read."""
    paths = [settings.env_file] if settings.env_file else []
    with contextlib.suppress(ValidationError):
        paths += sqlite_files(database_url(cast(DatabaseSettings, settings.read(DatabaseSettings)).database_url))
    readable = [path for path in paths if os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077]
    return [f"other users of this machine can read {path.name}: chmod 600 {path}" for path in readable]


def _env_file_hints() -> list[str]:
    path = settings.env_file
    names = {name.upper() for name in dotenv_values(path)} if path and path.is_file() else set()
    hints = ["FASTAPI_ENV in .env has no effect: set it in the process"] if "FASTAPI_ENV" in names else []
    unknown = sorted(names - settings.known_names() - {"FASTAPI_ENV"})
    return [*hints, *(f"{name} in .env is no setting of this service: is it misspelt?" for name in unknown)]


def callers(policy: Policy, *, people: bool) -> str:
    """Who may call a route. `people`: this app has a kind of credential that is not limited to scopes."""
    if policy.public and not policy.guarded:
        return "everyone"
    # A credential that is limited to scopes gets 403 where no scope is named, and no API key is a recent login.
    people_alone = people and (policy.fresh_login or not policy.scopes)
    return ", ".join(
        [
            "people" if people_alone else "callers",
            *(f"scope {scope}" for scope in sorted(policy.scopes)),
            *(f"role {' or '.join(sorted(group))}" for group in sorted(policy.roles, key=sorted)),
            *(["recent login"] if policy.fresh_login else []),
        ]
    )


def exceptions(policy: Policy) -> str:
    """What a route allows beyond the defaults; empty for most."""
    words, limits = [], policy.limits
    if limits.get("media_types"):
        words.append(f"accepts {' or '.join(limits['media_types'])}")
    if "max_bytes" in limits:
        words.append(f"bodies up to {limits['max_bytes']} bytes")
    if "seconds" in limits:
        words.append("no deadline" if limits["seconds"] is None else f"a deadline of {limits['seconds']:g} seconds")
    return ", ".join(words)


def loose_bodies(document: dict[str, Any]) -> Iterator[str]:
    """Mass assignment (ASVS 5.0 V15.3.3): the models of bodies that accept unknown members or unbounded strings."""
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    contents = [content for one in operations for content in one.get("requestBody", {}).get("content", {}).values()]
    names = {content["schema"].get("$ref", "").rpartition("/")[2] for content in contents} - {""}
    for name in sorted(name for name in names if not name.startswith("Body_")):  # FastAPI made those
        schema = document["components"]["schemas"][name]
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            yield f'{name} accepts unknown members: add model_config = ConfigDict(extra="forbid")'
        for member, shape in schema.get("properties", {}).items():
            kinds = [kind for kind in (shape, *shape.get("anyOf", ())) if kind.get("type") == "string"]
            if any(BOUNDS.isdisjoint(kind) for kind in kinds):
                yield f"{name}.{member} has no max_length: add Field(max_length=…)"
