"""Erasure of a person: by themselves after a recent login."""

from collections.abc import Callable
from typing import Any

from tests.security.fixtures import Database
from tests.security.persons import Person, log_in, log_in_quietly, refresh

AsPerson = Callable[..., Person]
HERS = ("sessions", "known_addresses", "one_time_tokens", "account_roles", "api_keys")


def rows_of(person: Person) -> int:
    counted = [f"SELECT count(*) FROM {name} WHERE account_id = :id" for name in HERS]  # noqa: S608
    return sum(Database(person).rows(query, id=person.id.hex)[0][0] for query in counted)


def test_a_person_erases_their_own_account(as_person: AsPerson, recorded: list[dict[str, Any]]) -> None:
    alice, bob = as_person(), as_person()
    other = log_in_quietly(alice)

    assert alice.delete("/users/me").status_code == 204

    assert alice.get("/users/me").status_code == 401
    assert refresh(alice, other["refresh_token"]).status_code == 400
    assert log_in(alice, alice.name).status_code == 400
    assert rows_of(alice) == 0
    assert Database(alice).rows("SELECT count(*) FROM accounts WHERE name = :name", name=alice.name) == [(0,)]
    assert bob.get("/users/me").status_code == 200
    deleted = [event for event in recorded if event["event"] == "user_deleted"]
    assert [(event["actor"], event["subject"]) for event in deleted] == [(str(alice.id), str(alice.id))]
    assert alice.name not in str(recorded)
