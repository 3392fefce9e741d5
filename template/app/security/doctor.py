"""What is wrong with this configuration, in words or as JSON; the exit code says whether anything is."""

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from fastapi import FastAPI

from app.database import Database
from app.security import migrations
from app.security.hooks import Hint, hooks_of
from app.security.route_policy import InsecureApp, Policies
from app.security.settings import ROOT, environment, problems


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
        lines += [f"Public: {name}" for name in self.public_routes]
        lines += [f"Exception: {name}: {what}" for name, what in self.exceptions.items()]
        lines += [f"Not provided: {what}; instead: {instead}" for what, instead in self.not_provided.items()]
        lines += [f"Note: {hint}" for hint in self.hints]
        lines += [f"Problem: {problem}" for problem in self.problems] or ["No problem found."]
        return "\n".join(lines)


async def _database_problems() -> list[str]:
    try:
        behind = sum((await migrations.state()).behind)
    except Exception as error:  # whatever the driver says, it may hold the address
        return [f"the database cannot be reached ({type(error).__name__})"]
    return [f"{behind} migrations are waiting: run `uv run manage migrate`"] if behind else []


async def _ask(looks: list[Hint], policies: Policies) -> list[str]:
    found: list[str] = []
    database = Database()
    for look in looks:
        async with database.begin() as db:
            found += await look(db, policies)
    await database.close()
    return found


def not_provided() -> dict[str, str]:
    """What this project's answers leave uncovered, and what stands in for it; from the page that says so."""
    page = ROOT / "docs/security/not-provided.md"
    if not page.is_file():
        return {}  # an image holds no documents
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in rows[1:]}


async def examine(load_app: Callable[[], FastAPI], check: Callable[[FastAPI], Policies]) -> Report:
    """Settings, then the database, then the app itself, as far as they can be looked at."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        load_app()  # each protection's settings are known once its module is imported
    report = Report(environment(), problems(), not_provided=not_provided())
    if report.problems:
        return report  # the app does not start with them, so there is nothing more to look at
    report.problems = await _database_problems()
    app = load_app()
    try:
        policies = check(app)
    except InsecureApp as error:
        report.problems.append(str(error))
        return report
    if not report.problems:
        report.hints = await _ask(hooks_of(app).hints, policies)
        report.problems = await _ask(hooks_of(app).faults, policies)
    report.public_routes = sorted(policy.name for policy in policies.all if policy.public)
    report.exceptions = {policy.name: str(policy.limits) for policy in policies.all if policy.limits}
    return report
