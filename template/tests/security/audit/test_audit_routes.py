"""The audit log over HTTP: for administrators, page by page, and each reading is an event."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access.roles import ADMIN
from app.security.core.events import Event
from tests.security.audit.audit_helpers import kept, kept_events, write
from tests.security.fixtures import Database
from tests.security.persons import PASSWORD, Person, log_in

AsPerson = Callable[..., Person]


@pytest.fixture
def boss(as_person: AsPerson) -> Person:
    return as_person(role=ADMIN)


def page(boss: Person, **query: Any) -> list[dict[str, Any]]:
    answer = boss.get("/audit-events", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_only_administrators_read_it(client: TestClient, as_person: AsPerson, boss: Person) -> None:
    assert client.get("/audit-events").status_code == 401
    assert as_person().get("/audit-events").status_code == 403
    assert as_person(role=ADMIN, scope="notes:read").get("/audit-events").status_code == 403
    assert boss.get("/audit-events").status_code == 200


@pytest.mark.slow
def test_pages_hold_every_row_once_the_newest_first(boss: Person, as_person: AsPerson) -> None:
    for _ in range(6):
        as_person()
    write(boss)
    everything = [row.seq for row in kept(boss)]

    found: list[int] = []
    while rows := page(boss, limit=3, before=found[-1] if found else everything[-1] + 1):
        found += [row["seq"] for row in rows]

    assert found == everything[::-1]
    assert [row["seq"] for row in page(boss, limit=2, after=3)] == [5, 4]


@pytest.mark.slow
def test_a_page_is_filtered(boss: Person, as_person: AsPerson) -> None:
    as_person()
    write(boss)

    assert {row["event"] for row in page(boss, event="user_created")} == {"user_created"}
    assert {row["actor"] for row in page(boss, actor=str(boss.id))} == {str(boss.id)}
    assert page(boss, event="no_such_event") == []
    for actor in ("system", "anonymous"):
        assert {row["actor"] for row in page(boss, actor=actor)} <= {actor}


@pytest.mark.slow
def test_an_invalid_filter_is_refused(boss: Person) -> None:
    for query in ({"limit": 101}, {"after": 2**63}, {"event": "user_created\n"}, {"actor": "x"}):
        assert boss.get("/audit-events", params=query).status_code == 422, query


@pytest.mark.slow
def test_reading_is_one_event(boss: Person) -> None:
    rows = page(boss, limit=2)

    read = [row for row in kept(boss) if row.event == Event.AUDIT_READ]
    assert [(row.actor, row.subject) for row in read] == [(str(boss.id), f"{rows[-1]['seq']}-{rows[0]['seq']}")]


@pytest.mark.slow
def test_no_secret_is_kept_or_shown(boss: Person, client: TestClient) -> None:
    created = boss.post("/users", json={"name": "carol@example.com"}).json()
    client.post("/auth/activate", json={"token": created["activation_token"], "password": PASSWORD})
    tokens = log_in(client, "carol@example.com").json()
    log_in(client, "carol@example.com", "wrong staple 7")
    write(boss)

    shown = boss.get("/audit-events", params={"limit": 100}).text
    texts = shown + "".join(str(value) for row in kept(boss) for value in vars(row).values())
    secrets = [created["activation_token"], tokens["access_token"], tokens["refresh_token"], PASSWORD, "wrong staple"]
    assert "authn_login_fail" in shown
    assert [secret for secret in (*secrets, "argon2", "carol", "hash") if secret in shown] == []
    assert [secret for secret in (*secrets, "argon2", "carol") if secret in texts] == []


@pytest.mark.slow
def test_a_change_of_roles_fails_with_its_row_and_a_login_goes_on(boss: Person, as_person: AsPerson) -> None:
    person = as_person()
    write(boss)
    database = Database(boss)
    database.rows("ALTER TABLE audit_events RENAME TO elsewhere")
    try:
        refused = boss.patch(f"/users/{person.id}", json={"roles": [ADMIN]})
        ended = boss.delete(f"/users/{person.id}/sessions")
        entered = log_in(person, person.name)
    finally:
        database.rows("ALTER TABLE elsewhere RENAME TO audit_events")

    assert (refused.status_code, ended.status_code, entered.status_code) == (503, 503, 200)
    assert person.get("/users/me").json()["roles"] == []
    assert boss.patch(f"/users/{person.id}", json={"roles": [ADMIN]}).status_code == 200
    assert kept_events(boss)[-1] == Event.AUTHZ_CHANGE
