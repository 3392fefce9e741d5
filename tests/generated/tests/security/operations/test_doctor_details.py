"""`manage doctor`: database roles, unreachable databases, the order of the report, and the note about a proxy."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import ProgrammingError

from app.security.core import settings
from app.security.operations import migrations
from tests.security.fixtures import BASE_ENVIRONMENT, PRODUCTION_ENVIRONMENT
from tests.security.terminal import Manage

Environment = Callable[..., None]


def test_a_database_role_without_privileges_is_no_lost_database(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = OSError("permission denied for table hunter2")
    refusal.sqlstate = "42501"  # type: ignore[attr-defined]  # as asyncpg says it

    async def refuse() -> None:
        raise ProgrammingError("SELECT", {}, refusal)

    monkeypatch.setattr(migrations, "state", refuse)
    printed = manage("doctor").stdout

    assert "Problem: the database role lacks a privilege: docs/security/operations.md lists what to grant" in printed
    assert "cannot be reached" not in printed
    assert "hunter2" not in printed


def test_a_database_that_only_migrations_can_reach_is_a_problem(
    manage: Manage, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(
        MIGRATION_DATABASE_URL=BASE_ENVIRONMENT["DATABASE_URL"], DATABASE_URL="sqlite:////no/such/folder.sqlite3"
    )
    manage("migrate")

    result = manage("doctor")

    assert result.exit_code == 1
    assert "Problem: the database cannot be reached (OperationalError)\n" in result.stdout


def test_problems_come_first_then_notes(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTAPI_ENV")
    settings.forget()

    printed = manage("doctor").stdout

    kinds = [line.partition(":")[0] for line in printed.splitlines()]
    assert list(dict.fromkeys(kinds)) == ["Environment", "Problem", "Note"]
    assert "for development: FASTAPI_ENV=development uv run manage doctor\n" in printed


@pytest.mark.parametrize(("proxies", "notes"), [("", 1), ("10.0.0.5", 0)])
def test_production_without_a_proxy_is_a_note(
    manage: Manage, environment: Environment, proxies: str, notes: int
) -> None:
    environment(**PRODUCTION_ENVIRONMENT | {"TRUSTED_PROXIES": proxies})

    result = manage("doctor")

    assert result.exit_code == 0
    assert result.stdout.count("Note: TRUSTED_PROXIES is empty") == notes
