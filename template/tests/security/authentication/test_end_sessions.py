"""`manage users end-sessions …`: in an incident somebody, or everybody, is out at once and has to log in again."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from app.security.core.events import Event
from tests.security.fixtures import MakeClient
from tests.security.persons import Person, log_in, refresh
from tests.security.terminal import Manage

AsPerson = Callable[..., Person]


@pytest.fixture
def end_sessions(manage: Manage) -> Manage:
    return partial(manage, "users", "end-sessions")


@pytest.fixture
def two(make_client: MakeClient, as_person: AsPerson) -> tuple[Person, Person]:
    """Two people of an app that asks the database each time, as every other process does some seconds later."""
    client = make_client(AUTH_CACHE_SECONDS="0")
    return as_person(client=client), as_person(client=client)


def works(person: Person) -> tuple[bool, bool]:
    """Whether the access token and the refresh token hold."""
    access = person.get("/users/me").status_code == 200
    return access, refresh(person, person.tokens["refresh_token"]).status_code == 200


def ended(recorded: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    updates = [row for row in recorded if row["event"] == Event.USER_UPDATED]
    return [(row["actor"], row["subject"], row["reason"]) for row in updates]


@pytest.mark.slow
def test_ending_every_session_logs_everybody_out(
    end_sessions: Manage, two: tuple[Person, Person], recorded: list[dict[str, Any]]
) -> None:
    result = end_sessions("--all")

    assert (result.exit_code, result.stdout) == (0, "Ended every session of everybody.\n")
    assert [works(person) for person in two] == [(False, False), (False, False)]
    assert ended(recorded) == [("system", "everybody", "sessions_ended")]
    assert log_in(two[0], two[0].name).status_code == 200
