"""Erasure of a person by the administrator: confirmed in its transaction, never oneself, never the last one."""

from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access.roles import ADMIN
from app.security.audit import chain
from tests.security.administration.test_grants import REVOCATIONS, Revocation, revoked_meanwhile
from tests.security.administration.test_people import boss
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import Person, log_in, refresh
from tests.security.timing import at_once, later

__all__ = ["boss"]  # a fixture

AsPerson = Callable[..., Person]


def delete(by: Person, person: Person) -> int:
    return by.delete(f"/users/{person.id}").status_code


def exists(client: TestClient, person: Person) -> bool:
    return Database(client).rows("SELECT count(*) FROM accounts WHERE name = :name", name=person.name) == [(1,)]


def test_the_administrator_erases_a_person(
    boss: Person,
    as_person: AsPerson,
    recorded: list[dict[str, Any]],
) -> None:
    person = as_person()

    assert delete(boss, person) == 204

    assert person.get("/users/me").status_code == 401
    assert refresh(person, person.tokens["refresh_token"]).status_code == 400
    assert log_in(person, person.name).status_code == 400
    assert delete(boss, person) == 404
    found = [(event["event"], event["actor"], event.get("subject"), event.get("reason")) for event in recorded]
    assert ("authz_admin", str(boss.id), str(person.id), "deleted") in found
    assert ("user_deleted", str(boss.id), str(person.id), None) in found


def test_the_audit_log_keeps_the_id_of_an_erased_person_and_not_the_name(
    boss: Person,
    as_person: AsPerson,
) -> None:
    person = as_person()
    assert delete(boss, person) == 204

    events = boss.get("/audit-events").json()

    assert [event["event"] for event in events if event["subject"] == str(person.id)][:2] == [
        "user_deleted",
        "authz_admin",
    ]
    assert person.name not in str(events)
    assert Database(boss).run(chain.verify)[0] >= 3


def test_no_administrator_erases_themselves(boss: Person, as_person: AsPerson) -> None:
    as_person(role=ADMIN)

    assert delete(boss, boss) == 403
    assert boss.delete("/users/me").status_code == 409
    assert boss.get("/users").status_code == 200


def test_of_administrators_who_erase_each_other_at_once_one_remains(client: TestClient, as_person: AsPerson) -> None:
    everyone = [as_person(role=ADMIN) for _ in range(3)]

    answers = at_once([partial(delete, *pair) for pair in permutations(everyone, 2)])

    assert set(answers) <= {204, 401, 403, 404, 409}
    assert Database(client).rows("SELECT count(*) FROM accounts") == [(1,)]


def test_the_last_administrator_with_a_password_stays(client: TestClient, boss: Person, as_person: AsPerson) -> None:
    """One who never chose a password cannot log in again."""
    other = as_person(role=ADMIN)
    Database(client).rows("UPDATE accounts SET password_hash = '!' WHERE name = :name", name=boss.name)

    assert delete(boss, other) == 409
    assert exists(client, other)


def test_an_administrator_who_logs_in_elsewhere_counts(client: TestClient, boss: Person, as_person: AsPerson) -> None:
    other = as_person(role=ADMIN)
    Database(client).rows("UPDATE accounts SET password_hash = '!external' WHERE name = :name", name=boss.name)

    assert delete(boss, other) == 204


def test_an_old_login_erases_nobody(make_client: MakeClient, as_person: AsPerson) -> None:
    client = make_client(AUTH_CACHE_SECONDS="0")
    boss, person = as_person(role=ADMIN, client=client), as_person(client=client)

    with later(minutes=16):
        boss.use(refresh(boss, boss.tokens["refresh_token"]).json())
        assert delete(boss, person) == 401
    assert exists(client, person)


def test_a_person_erases_nobody_else(as_person: AsPerson) -> None:
    assert delete(as_person(), as_person()) == 403


@pytest.mark.parametrize("revoke", REVOCATIONS)
def test_an_administrator_who_lost_power_meanwhile_erases_nobody(
    make_client: MakeClient, as_person: AsPerson, monkeypatch: pytest.MonkeyPatch, revoke: Revocation
) -> None:
    client = make_client()
    boss, person = as_person(role=ADMIN, client=client), as_person(client=client)

    with revoked_meanwhile(boss, revoke, monkeypatch):
        assert delete(boss, person) == 401

    assert exists(client, person)


def test_an_invitation_of_an_erased_administrator_is_invalid(boss: Person, as_person: AsPerson) -> None:
    issuer, person = as_person(role=ADMIN), as_person()
    token = issuer.post(f"/users/{person.id}/invite").json()["activation_token"]

    assert delete(boss, issuer) == 204

    activation = {"token": token, "password": "seven quiet lamps behind"}
    assert person.post("/auth/activate", json=activation).status_code == 400
