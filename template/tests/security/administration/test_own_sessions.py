"""Correct logins are no failures; a changed password ends its session's old tokens; an access token can be revoked."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.authentication.throttle_helpers import ALICE, From, at, service
from tests.security.persons import PASSWORD, Person, log_in, log_in_quietly, refresh

__all__ = ["at", "service"]  # fixtures

AsPerson = Callable[..., Person]
NEW = "seven quiet lamps behind"


def change(person: Person, **more: Any) -> Any:
    body = {"current_password": PASSWORD, "new_password": NEW, **more}
    return person.post("/users/me/password", json=body)


@pytest.mark.slow
def test_correct_logins_from_many_new_addresses_are_no_failures(at: From) -> None:
    assert {log_in(at(f"203.0.113.{number}"), ALICE).status_code for number in range(1, 41)} == {200}


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_the_old_refresh_token_of_the_same_session_ends_with_the_password(as_person: AsPerson, keep: bool) -> None:
    alice = as_person()
    old, answer = alice.tokens["refresh_token"], change(alice, keep_other_sessions=keep)

    assert refresh(alice, old).status_code == 400  # a moment later, from the same place: refused and no more
    assert refresh(alice, answer.json()["refresh_token"]).status_code == 200


@pytest.mark.slow
def test_an_access_token_ends_its_session(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    other = log_in_quietly(alice)
    assert alice.get("/users/me").status_code == 200

    answer = client.post("/auth/revoke", data={"token": alice.tokens["access_token"]})

    assert (answer.status_code, answer.content) == (200, b"")
    assert alice.get("/users/me").status_code == 401
    assert refresh(alice, alice.tokens["refresh_token"]).status_code == 400
    assert refresh(alice, other["refresh_token"]).status_code == 200
