"""`manage doctor`: unreachable databases, the order of the report, and the note about a proxy."""

from collections.abc import Callable

import pytest

from app.security.core import settings
from tests.security.fixtures import BASE_ENVIRONMENT, PRODUCTION_ENVIRONMENT
from tests.security.terminal import Manage

Environment = Callable[..., None]


def test_a_database_that_only_migrations_can_reach_is_a_problem(
    manage: Manage, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(
        MIGRATION_DATABASE_URL=BASE_ENVIRONMENT["DATABASE_URL"], DATABASE_URL="sqlite:////no/such/folder.sqlite3"
    )
    manage("migrate")

    result = manage("doctor")

    assert result.exit_code == 1
    assert "Problem: the database cannot be used (OperationalError)\n" in result.stdout


def test_a_sound_configuration_has_no_problem_as_json_either(manage: Manage) -> None:
    assert manage("doctor", "--json").exit_code == 0


def test_problems_come_before_public_routes(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTAPI_ENV")
    settings.forget()

    printed = manage("doctor").stdout

    kinds = [line.partition(":")[0] for line in printed.splitlines() if not line.startswith("Note: ")]
    assert list(dict.fromkeys(kinds)) == ["Environment", "Problem", "Public"]


def test_a_production_without_a_trusted_proxy_is_named(manage: Manage, environment: Environment) -> None:
    missing = "TRUSTED_PROXIES is empty"
    environment(**PRODUCTION_ENVIRONMENT)
    manage("migrate")
    assert missing in manage("doctor").stdout

    environment(TRUSTED_PROXIES="10.0.0.1")
    assert missing not in manage("doctor").stdout
