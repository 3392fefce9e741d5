"""`manage users …`: who may log in, decided at the terminal; a password is asked for, and nowhere else taken from."""

from collections.abc import Callable
from functools import partial

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, log_in, refresh
from tests.security.terminal import Manage

AsPerson = Callable[..., Person]
ALICE = "alice@example.com"
TWICE = f"{PASSWORD}\n{PASSWORD}\n"


@pytest.fixture
def users(manage: Manage) -> Manage:
    """Type `manage users …` and these lines; the exit code, stdout and stderr."""
    return partial(manage, "users")


def test_a_created_person_logs_in_with_the_password_typed(users: Manage, client: TestClient) -> None:
    result = users("create", ALICE, typed=TWICE)

    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert "Password (15 characters or more): " in result.stdout
    assert log_in(client, ALICE).status_code == 200


@pytest.mark.slow
def test_a_password_as_an_argument_is_refused(users: Manage, database: Database) -> None:
    for arguments in (
        ("create", ALICE, PASSWORD),
        ("create", ALICE, "--password", PASSWORD),
        ("create", ALICE, f"--password={PASSWORD}"),
        ("create", ALICE, "-p", PASSWORD),
        ("invite", ALICE, PASSWORD),
        ("create",),
        ("delete", ALICE, PASSWORD),
    ):
        assert users(*arguments, typed=TWICE).exit_code == 2, arguments
    assert database.rows("SELECT count(*) FROM accounts") == [(0,)]


@pytest.mark.slow
def test_disabling_ends_every_session_and_enabling_brings_none_back(
    users: Manage, make_client: MakeClient, as_person: AsPerson
) -> None:
    person = as_person(client=make_client(AUTH_CACHE_SECONDS="0"))
    session = person.tokens["refresh_token"]

    assert users("disable", person.name).exit_code == 0
    assert person.get("/users/me").status_code == 401
    assert log_in(person, person.name).status_code == 400

    assert users("enable", person.name.upper()).exit_code == 0
    assert person.get("/users/me").status_code == 401
    assert refresh(person, session).status_code == 400
    assert log_in(person, person.name).status_code == 200
