"""`manage doctor`: unreachable databases, the order of the report, and the note about a proxy."""

from collections.abc import Callable
from typing import Annotated

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from app.security.access.identity import public
from app.security.core import settings
from app.security.operations.doctor import loose_bodies
from tests.security.build_app import assemble
from tests.security.fixtures import BASE_ENVIRONMENT, PRODUCTION_ENVIRONMENT, MakeClient
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


class Numbers(BaseModel, extra="forbid"):
    few: Annotated[list[int], Field(max_length=10)]
    many: list[int] = []


def test_a_list_without_an_end_is_named(make_client: MakeClient) -> None:
    """Each of its items may be a validation error, and 100,000 of them take a second."""

    def add(app: FastAPI) -> None:
        @app.post("/numbers", dependencies=[public])
        async def numbers(body: Numbers) -> None: ...

    app = make_client(build=lambda: assemble(add)).app

    assert list(loose_bodies(app.openapi())) == ["Numbers.many has no max_length: add Field(max_length=…)"]  # type: ignore[attr-defined]
