"""`manage migrate` with weak settings or without a database, and what `manage routes` shows of a route."""

import re
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from app.security.access.identity import Authenticate, public, require_scope
from app.security.access.policy import Policy
from app.security.admission.request_guard import accepts, deadline
from tests.security.build_app import assemble, forgotten
from tests.security.fixtures import PRODUCTION_ENVIRONMENT
from tests.security.operations.test_cli import Environment
from tests.security.terminal import Manage


@pytest.mark.parametrize("name", ["PUBLIC_BASE_URL", "FASTAPI_ENV"])
def test_weak_settings_do_not_stop_migrations(manage: Manage, environment: Environment, name: str) -> None:
    environment(**PRODUCTION_ENVIRONMENT | {name: ""})

    migrated = manage("migrate")

    assert migrated.exit_code == 0
    assert migrated.stdout.endswith("The database is up to date.\n")


@pytest.mark.parametrize(
    ("name", "url", "cause"),
    [
        ("DATABASE_URL", "postgresql://api:hunter2@127.0.0.1:1/api", "(ConnectionRefusedError)"),
        ("MIGRATION_DATABASE_URL", "sqlite:////no/such/hunter2", "(OperationalError)"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line_without_its_address(
    manage: Manage, environment: Environment, name: str, url: str, cause: str
) -> None:
    environment(**{name: url})

    result = manage("migrate")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"The database cannot be reached {cause}: check (MIGRATION_)DATABASE_URL.\n"


class ForKeepers(Authenticate):
    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.roles.add(frozenset({"keeper", "admin"}))


class AfterLogin(Authenticate):
    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.recent_login = True


@pytest.mark.parametrize(
    ("dependencies", "callers"),
    [
        ([public], "everyone"),
        ([Depends(Authenticate())], "people"),
        ([require_scope("scratch:read")], "callers, scope scratch:read"),
        ([Depends(ForKeepers())], "people, role admin or keeper"),
        ([require_scope("scratch:read"), Depends(AfterLogin())], "people, scope scratch:read, recent login"),
        ([public, deadline(None)], "everyone, deadline None"),
        ([public, accepts("text/csv", max_bytes=5000)], "everyone, accepts text/csv, max_bytes 5000"),
    ],
)
def test_the_requirements_of_a_route_are_shown(manage: Manage, dependencies: list[Any], callers: str) -> None:
    def load() -> FastAPI:
        app = assemble(lambda app: app.get("/a", dependencies=dependencies)(forgotten))
        app.state.credentials.kinds[0].always_limited = False  # or a route without scope may be refused
        return app

    result = manage("routes", load=load)
    assert re.search(rf"^GET /a +{re.escape(callers)}$", result.stdout, re.MULTILINE)
