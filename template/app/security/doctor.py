"""What is wrong with this configuration, in words or as JSON; the exit code says whether anything is."""

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.security import migrations
from app.security.hooks import hooks_of
from app.security.route_policy import InsecureApp, Policies
from app.security.settings import environment, problems


@dataclass
class Report:
    environment: str
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    public_routes: list[str] = field(default_factory=list)
    exceptions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def as_text(self) -> str:
        unset = "" if os.environ.get("FASTAPI_ENV") else " (FASTAPI_ENV is not set)"
        lines = [f"Environment: {self.environment}{unset}"]
        lines += [f"Public: {name}" for name in self.public_routes]
        lines += [f"Exception: {name}: {what}" for name, what in self.exceptions.items()]
        lines += [f"Note: {hint}" for hint in self.hints]
        lines += [f"Problem: {problem}" for problem in self.problems] or ["No problem found."]
        return "\n".join(lines)


async def examine(load_app: Callable[[], FastAPI], check: Callable[[FastAPI], Policies]) -> Report:
    """Settings, then the database, then the app itself, as far as they can be looked at."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        load_app()  # each protection's settings are known once its module is imported
    report = Report(environment(), problems())
    if report.problems:
        return report  # the app does not start with them, so there is nothing more to look at
    try:
        behind = sum((await migrations.state()).behind)
        if behind:
            report.problems.append(f"{behind} migrations are waiting: run `uv run manage migrate`")
    except Exception as error:  # whatever the driver says, it may hold the address
        report.problems.append(f"the database cannot be reached ({type(error).__name__})")
    app = load_app()
    try:
        policies = check(app)
    except InsecureApp as error:
        report.problems.append(str(error))
        return report
    for look in hooks_of(app).hints:
        try:
            report.hints += await look(app, policies)
        except SQLAlchemyError:
            continue  # the database cannot be asked; that is a problem above already
    report.public_routes = sorted(policy.name for policy in policies.all if policy.public)
    report.exceptions = {policy.name: str(policy.limits) for policy in policies.all if policy.limits}
    return report
