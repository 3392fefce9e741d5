"""Roles: who may call what, removal at once, and nothing that only a token says."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access.roles import ADMIN, Role
from app.security.core.events import Event
from tests.security.access.test_roles import AsPerson, call, routes_for_roles
from tests.security.terminal import Manage

OTHER = next((role.value for role in Role if role is not ADMIN), "")


def test_the_refusal_names_the_missing_permission(as_person: AsPerson) -> None:
    answer = as_person().get("/users")

    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_a_role_gained_counts_from_the_next_token(client: TestClient, as_person: AsPerson) -> None:
    boss, person = as_person(role=ADMIN), as_person()

    assert boss.patch(f"/users/{person.id}", json={"roles": [ADMIN]}).status_code == 200
    before = person.get("/users").status_code
    person.log_in()

    assert (before, person.get("/users").status_code) == (403, 200)


def test_a_role_that_this_project_does_not_have_any_more_grants_nothing(
    client: TestClient, as_person: AsPerson
) -> None:
    person, boss = as_person(role="long_gone"), as_person(role=ADMIN)

    shown = [
        person.get("/users/me").json(),
        *boss.get("/users").json(),
        boss.patch(f"/users/{person.id}", json={}).json(),
    ]

    assert [one["roles"] for one in shown if one["id"] == str(person.id)] == [[], [], []]
    assert {call(person, policy) for policy in routes_for_roles(client)} == {403}


# At the terminal


def test_the_terminal_replaces_the_roles_of_a_person(
    manage: Manage, as_person: AsPerson, make_client: Callable[..., TestClient], recorded: list[dict[str, Any]]
) -> None:
    person = as_person(role=OTHER, client=make_client(AUTH_CACHE_SECONDS="0"))
    recorded.clear()

    result = manage("users", "roles", person.name, "--role", ADMIN)

    changed = [row for row in recorded if row["event"] == Event.AUTHZ_CHANGE]
    changes = [(row["subject"], row["reason"], row["outcome"]) for row in changed]
    assert result.stdout == f"Roles of {person.name}: {ADMIN} (before: {OTHER or 'none'}).\n"
    assert changes == [(str(person.id), f"{OTHER}->{ADMIN}", "success")]
    person.log_in()
    assert person.get("/users").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--role", "no_such_role"), 1), ((), 2)],
)
def test_roles_that_are_not_there_and_none_change_nothing(
    manage: Manage, as_person: AsPerson, arguments: tuple[str, ...], code: int
) -> None:
    boss = as_person(role=ADMIN)

    assert manage("users", "roles", boss.name, *arguments).exit_code == code
    assert boss.get("/users").status_code == 200
