"""`manage doctor`: checks the settings, the database, the files and the app, and reports without showing any value."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from shlex import quote
from traceback import extract_tb
from typing import Any, cast

from fastapi import FastAPI
from pydantic import ValidationError

from app.database import Database, DatabaseSettings, database_url, sqlite_files
from app.security.access.policy import Policy
from app.security.conflicts import conflicts, project_files
from app.security.core import logs, settings
from app.security.core.settings import ROOT, environment, in_production, problems
from app.security.http.client_address import ProxySettings
from app.security.operations import migrations, start_up
from app.security.operations.terminal import kind_of

ON_A_LAPTOP = "FASTAPI_ENV=development uv run manage doctor"
SHOWN = {"media_types": "accepts", "seconds": "deadline", "content_security_policy": "CSP"}
# Of a working copy; a deployed service may lack them.
TEMPLATE_FILES = (
    *("docs/security", "migrations/security", "tests/security"),
    *(".github/security", ".github/workflows/security.yml", ".copier-answers.yml"),
)
REACHABLE = re.compile(r"gh:|gl:|[\w.-]+@[\w.-]+:|(?:git\+)?(?:https?|ssh)://")
BOUNDS = {"maxLength", "maxItems", "enum", "const", "format", "pattern"}


@dataclass
class Report:
    environment: str
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    public_routes: list[str] = field(default_factory=list)

    def as_text(self) -> str:
        unset = "" if os.environ.get("FASTAPI_ENV") else f" (FASTAPI_ENV is not set; on your machine: {ON_A_LAPTOP})"
        lines = [f"Environment: {self.environment}{unset}"]
        lines += [f"Problem: {problem}" for problem in self.problems] or ["No problem found."]
        lines += [f"Note: {hint}" for hint in self.hints]
        lines += [f"Public: {name}" for name in self.public_routes]
        return "\n".join(lines)


async def examine(load_app: Callable[[], FastAPI]) -> Report:
    settings.looking_only = True
    report = Report(environment(), list(conflicts(project_files())))
    app = _check_app(load_app, report)
    report.problems += problems()
    if await _check_database(report) and app and not report.problems:
        report.hints += loose_bodies(app.openapi())
        await _check_clock(report)
    if in_production() and not report.problems and not ProxySettings.current().trusted_proxies:
        report.hints.append("TRUSTED_PROXIES is empty: what comes through a proxy is refused with `Use https.`")
    report.hints += [*_file_hints(), *_missing_files(), *_unreachable_template()]
    return report


def _check_app(load_app: Callable[[], FastAPI], report: Report) -> FastAPI | None:
    try:
        import_module("app.security.compose")  # defines the template's settings, even if your code fails
        app = load_app()
        policies = start_up.check_app(app)
    except SystemExit as error:
        report.problems.append(f"the app exits while it is built (exit code {error.code})")
        return None
    except Exception as error:  # your code may raise anything
        if not (isinstance(error, SyntaxError) and report.problems):  # of a conflict
            report.problems.append(_missing_package(error) or f"{type(error).__name__}: {logs.redact(str(error))}")
        return None
    report.problems += app.state.replaced
    report.public_routes = sorted(policy.name for policy in policies.all if policy.public)
    return app


def _missing_package(error: Exception) -> str:
    """The file that imports a package which is not installed, with the command that adds it."""
    package = (getattr(error, "name", None) or "app").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or (ROOT / package).exists():
        return ""
    path = Path(extract_tb(error.__traceback__)[-1].filename)
    shown = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return f"{shown} imports {package}, which is not installed: uv add {package}"


async def _check_database(report: Report) -> bool:
    """Whether it has its tables."""
    try:
        chosen = settings.read(DatabaseSettings)
        if in_production() and chosen.weaknesses():
            return False  # never send the password to a server that production refuses
        behind, start_migrates = await migrations.waiting()
    except ValidationError:
        return False  # a problem of the settings
    except Exception as error:  # the driver's message may hold the address
        report.problems.append(f"the database cannot be used ({await kind_of(error)})")
        return False
    if start_migrates:
        report.hints.append("the database is empty: the next start creates its tables, or `uv run manage migrate`")
    elif behind:
        report.problems.append(f"{behind} migrations are waiting: run `uv run manage migrate`")
    return not behind


async def _check_clock(report: Report) -> None:
    """With the service's own address, which may be another one than that of migrations."""
    database = Database()
    try:
        async with database.read() as connection:
            report.problems += await start_up.clock_problems(connection)
    except Exception as error:
        report.problems.append(f"the database cannot be used ({await kind_of(error)})")
    finally:
        await database.close()


def _file_hints() -> list[str]:
    """Secrets and hashes that other users of this machine can read."""
    paths = [settings.env_file] if settings.env_file else []
    with contextlib.suppress(ValidationError):
        paths += sqlite_files(database_url(cast(DatabaseSettings, settings.read(DatabaseSettings)).database_url))
    readable = [path for path in paths if os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077]
    return [f"other users of this machine can read {path.name}: chmod 600 {quote(str(path))}" for path in readable]


def _missing_files() -> Iterator[str]:
    top = next((folder for folder in (ROOT, *ROOT.parents) if (folder / ".git").exists()), None)
    for name in TEMPLATE_FILES if top else ():
        if not any((folder / name).exists() for folder in (ROOT, top) if folder):
            found = next((path.as_posix() for path in project_files() if f"/{name}/" in f"{path.as_posix()}/"), "")
            moved = f" (it is {found.partition(name)[0]}{name} now)" if found else ""
            yield f"{name} is not where the template has it{moved}: updates and scans of it are off"


def _unreachable_template() -> Iterator[str]:
    """The template's address, where it is a folder of one machine: neither a bot nor a colleague can update from it."""
    answers = ROOT / ".copier-answers.yml"
    found = re.search(r"^_src_path: *(.+)$", answers.read_text(), re.MULTILINE) if answers.is_file() else None
    address = found[1].strip("'\"") if found else "https://"
    if not REACHABLE.match(address):
        yield (
            f"no bot and no colleague can update this project: its template is a folder of this machine, {address}. "
            "Write the address of the repository after _src_path in .copier-answers.yml, and commit it"
        )


def callers(policy: Policy) -> str:
    """Who may call a route, and what the route's declarations allow it beyond the defaults."""
    limits = {SHOWN.get(name, name): value for name, value in policy.limits.items() if name != "max_body_size"}
    allowed = [f"{name} {_in_words(value)}" for name, value in limits.items()]
    if policy.public and not policy.guarded:
        return ", ".join(["everyone", *allowed])
    # A credential that is limited to scopes gets 403 where no scope is named, and no API key is a recent login.
    words = ["people" if policy.recent_login or not policy.scopes else "callers"]
    words += [f"scope {scope}" for scope in sorted(policy.scopes)]
    words += [f"role {' or '.join(sorted(group))}" for group in sorted(policy.roles, key=sorted)]
    return ", ".join([*words, *(["recent login"] if policy.recent_login else []), *allowed])


def _in_words(value: Any) -> str:
    if isinstance(value, tuple):
        return " and ".join(value)
    return value.decode() if isinstance(value, bytes) else str(value)


def loose_bodies(document: dict[str, Any]) -> Iterator[str]:
    """Mass assignment (ASVS 5.0 V15.3.3): the bodies that accept unknown members, unbounded strings or lists."""
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    contents = [content for one in operations for content in one.get("requestBody", {}).get("content", {}).values()]
    names = {content["schema"].get("$ref", "").rpartition("/")[2] for content in contents} - {""}
    for name in sorted(name for name in names if not name.startswith("Body_")):  # FastAPI made those
        schema = document["components"]["schemas"][name]
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            yield f'{name} accepts unknown members: add model_config = ConfigDict(extra="forbid")'
        for member, shape in schema.get("properties", {}).items():
            kinds = [shape, *shape.get("anyOf", ())]
            # A Decimal takes no max_length, and is a number or a string.
            texts = [kind for kind in kinds if kind.get("type") in ("string", "array")]
            is_decimal = texts == [{"type": "string"}] and any(kind.get("type") == "number" for kind in kinds)
            if not is_decimal and any(BOUNDS.isdisjoint(kind) for kind in texts):
                yield f"{name}.{member} has no max_length: add Field(max_length=…)"
