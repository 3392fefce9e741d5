"""`manage users end-sessions …`: in an incident somebody, or everybody, is out at once and has to log in again."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from tests.security.authentication.test_end_sessions import AsPerson, end_sessions, ended, two, works  # noqa: F401
from tests.security.fixtures import Database
from tests.security.persons import Person
from tests.security.terminal import Manage


def test_the_sessions_of_one_person_end_and_no_others(
    end_sessions: Manage, two: tuple[Person, Person], recorded: list[dict[str, Any]]
) -> None:
    result = end_sessions(two[0].name.upper())

    assert (result.exit_code, result.stdout) == (0, f"Ended every session of {two[0].name}.\n")
    assert [works(person) for person in two] == [(False, False), (True, True)]
    assert ended(recorded) == [("system", str(two[0].id), "sessions_ended")]


@pytest.mark.parametrize("arguments", [(), ("--all", "alice@example.com")])
def test_neither_a_name_nor_everybody_and_both_at_once_end_nothing(
    end_sessions: Manage, two: tuple[Person, Person], arguments: tuple[str, ...]
) -> None:
    assert end_sessions(*arguments).exit_code == 2
    assert works(two[0]) == (True, True)


def test_a_session_that_ended_before_keeps_its_time(
    end_sessions: Manage, client: TestClient, as_person: AsPerson
) -> None:
    assert as_person().post("/auth/logout").status_code == 204
    database = Database(client)
    before = database.rows("SELECT ended_at FROM sessions")

    assert end_sessions("--all").exit_code == 0

    assert database.rows("SELECT ended_at FROM sessions") == before


@pytest.mark.parametrize(("name", "said"), [("billing", "service account"), ("nobody", "No such account")])
def test_a_service_account_has_no_sessions_to_end(
    end_sessions: Manage, database: Database, name: str, said: str
) -> None:
    database.run(lambda db: accounts.create(db, "billing", kind="service"))

    result = end_sessions(name)

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
