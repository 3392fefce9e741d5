"""One's own account: looking at it, and changing the password."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.security.persons import PASSWORD, Person, log_in, refresh

AsPerson = Callable[..., Person]
NEW = "seven quiet lamps behind"


def change(person: Person, current: str = PASSWORD, new: str = NEW, **more: object) -> Any:
    return person.post("/users/me/password", json={"current_password": current, "new_password": new, **more})


def names(recorded: list[dict[str, Any]]) -> list[str]:
    return [str(event["event"]) for event in recorded]


@pytest.mark.slow
def test_the_new_password_replaces_the_old_one(as_person: AsPerson) -> None:
    alice = as_person()

    assert change(alice).status_code == 200

    assert log_in(alice, alice.name, PASSWORD).status_code == 400
    assert log_in(alice, alice.name, NEW).status_code == 200


def test_every_other_session_ends_with_the_old_password(as_person: AsPerson) -> None:
    alice, bob = as_person(), as_person()
    other = log_in(alice, alice.name).json()

    change(alice)

    assert alice.get("/users/me", headers={"Authorization": f"Bearer {other['access_token']}"}).status_code == 401
    assert refresh(alice, other["refresh_token"]).status_code == 400
    assert bob.get("/users/me").status_code == 200


def test_a_token_alone_changes_no_password(as_person: AsPerson, recorded: list[dict[str, Any]]) -> None:
    alice = as_person()

    for wrong in ("wrong", "", PASSWORD + " ", "x" * 4096, "a\0b"):
        assert change(alice, current=wrong).status_code == 400

    assert log_in(alice, alice.name, NEW).status_code != 200
    assert alice.get("/users/me").status_code == 200
    assert names(recorded).count("authn_password_change_fail") == 5
