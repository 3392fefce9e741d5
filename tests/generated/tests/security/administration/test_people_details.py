"""Administration of people: administrators after a recent login alone, and the changes that are always refused."""

from functools import partial
from itertools import permutations
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access.roles import ADMIN, first_role
from app.security.core.events import Event
from tests.security.administration.test_people import (
    AsPerson,
    activate,
    boss,  # noqa: F401
    disable,
)
from tests.security.fixtures import Database
from tests.security.persons import Person, create_person, log_in, log_in_quietly, refresh
from tests.security.timing import at_once, later

NOBODY = "00000000-0000-4000-8000-000000000000"


def test_an_invitation_serves_a_forgotten_password(client: TestClient, boss: Person, as_person: AsPerson) -> None:
    person = as_person()
    token = boss.post(f"/users/{person.id}/invite").json()["activation_token"]
    new_password = "another staple 8 for a horse"

    assert client.post("/auth/activate", json={"token": token, "password": new_password}).status_code == 204

    assert person.get("/users/me").status_code == 401
    assert log_in(client, person.name, new_password).status_code == 200


def test_a_person_who_refreshes_while_they_are_disabled_gets_an_answer(boss: Person, as_person: AsPerson) -> None:
    for _ in range(2):
        person = as_person()
        tokens = [log_in_quietly(person)["refresh_token"] for _ in range(8)]
        refreshes = [partial(refresh, person, token) for token in tokens]
        *refreshed, disabled = at_once([*refreshes, partial(disable, boss, person)])

        assert disabled.status_code == 200
        assert {answer.status_code for answer in refreshed} <= {200, 400}


def test_the_administrator_ends_the_sessions_of_a_person(boss: Person, as_person: AsPerson) -> None:
    person = as_person()

    assert boss.delete(f"/users/{person.id}/sessions").status_code == 204

    assert person.get("/users/me").status_code == 401


def test_an_administrator_who_never_chose_a_password_does_not_count(boss: Person) -> None:
    assert boss.post("/users", json={"name": "dave@example.com", "roles": [ADMIN]}).status_code == 201

    assert boss.patch(f"/users/{boss.id}", json={"is_active": False}).status_code == 409


def test_of_two_administrators_who_demote_each_other_at_once_one_remains(boss: Person, as_person: AsPerson) -> None:
    other = as_person(role=ADMIN)

    answers = at_once(
        [
            lambda: boss.patch(f"/users/{other.id}", json={"roles": []}).status_code,
            lambda: other.patch(f"/users/{boss.id}", json={"roles": []}).status_code,
        ]
    )

    assert sorted(answers)[0] == 200
    assert sorted(answers)[1] in (403, 409)


def test_parallel_changes_of_an_administrator_never_deadlock(as_person: AsPerson) -> None:
    first, *others = sorted((as_person(role=ADMIN) for _ in range(4)), key=lambda person: person.id)

    def toggle(by: Person) -> set[int]:
        changes = [{"is_active": active} for active in (False, True) * 2]
        return {by.patch(f"/users/{first.id}", json=change).status_code for change in changes}

    assert at_once([partial(toggle, by) for by in others * 2]) == [{200}] * 6


def test_of_administrators_who_disable_each_other_at_once_one_remains(client: TestClient, as_person: AsPerson) -> None:
    everyone = [as_person(role=ADMIN) for _ in range(3)]

    answers = at_once([partial(disable, *pair) for pair in permutations(everyone, 2)])

    assert {answer.status_code for answer in answers} <= {200, 401, 403, 409}
    assert Database(client).rows("SELECT count(*) FROM accounts WHERE is_active") == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        {"password_hash": "x"},
        {"is_admin": True},
        {"roles": ["no_such_role"]},
        {"roles": "admin"},
        {"kind": "x"},
        {"is_active": "no"},
    ],
)
def test_nothing_else_can_be_changed_of_a_person(boss: Person, as_person: AsPerson, change: dict[str, Any]) -> None:
    assert boss.patch(f"/users/{as_person().id}", json=change).status_code == 422


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00b", "\u202eevil", "x" * 255, " padded"])
def test_a_name_that_hides_something_is_refused(boss: Person, name: str) -> None:
    assert boss.post("/users", json={"name": name}).status_code == 422


def test_names_that_fold_alike_are_one_name(client: TestClient, boss: Person) -> None:
    create_person(client, "strasse@example.com")

    for name in ("STRASSE@example.com", "straße@example.com", "\uff53trasse@example.com"):
        assert boss.post("/users", json={"name": name}).status_code == 409


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_an_unknown_person_is_404(boss: Person, method: str) -> None:
    path = f"/users/{NOBODY}" if method == "PATCH" else f"/users/{NOBODY}/invite"

    assert boss.request(method, path, json={} if method == "PATCH" else None).status_code == 404


@pytest.mark.parametrize(("method", "path", "status"), [("PATCH", "/users/me", 405), ("POST", "/users/me/invite", 404)])
def test_me_is_nobodys_id(client: TestClient, boss: Person, method: str, path: str, status: int) -> None:
    answers = [caller.request(method, path) for caller in (client, boss)]

    assert [(answer.status_code, answer.headers.get("allow")) for answer in answers] == [
        (status, "DELETE, GET, HEAD" if status == 405 else None)
    ] * 2


def test_each_act_of_the_administrator_is_one_event_that_names_the_person(
    client: TestClient, boss: Person, as_person: AsPerson, recorded: list[dict[str, Any]]
) -> None:
    person = as_person()

    def events_of(event: Event) -> list[tuple[str, str, str]]:
        return [(row["actor"], row["subject"], row["reason"]) for row in recorded if row["event"] == event]

    created = boss.post("/users", json={"name": "carol@example.com"}).json()["id"]
    boss.post(f"/users/{person.id}/invite")
    boss.delete(f"/users/{person.id}/sessions")
    boss.patch(f"/users/{person.id}", json={"roles": [ADMIN]})

    actor, subject = str(boss.id), str(person.id)
    assert events_of(Event.AUTHZ_ADMIN) == [
        (actor, created, "created"),
        (actor, subject, "invited"),
        (actor, subject, "sessions_ended"),
    ]
    given = [(actor, created, f"->{role}") for role in first_role()]
    assert events_of(Event.AUTHZ_CHANGE) == [*given, (actor, subject, f"->{ADMIN}")]


def test_an_invitation_for_a_person_ends_when_they_become_administrator(boss: Person, as_person: AsPerson) -> None:
    person = as_person()
    token = boss.post(f"/users/{person.id}/invite").json()["activation_token"]

    assert boss.patch(f"/users/{person.id}", json={"roles": [ADMIN]}).status_code == 200

    assert activate(person, token) == 400


def test_disabling_a_person_withdraws_the_invitations_for_them(boss: Person, as_person: AsPerson) -> None:
    person = as_person()
    token = boss.post(f"/users/{person.id}/invite").json()["activation_token"]

    for active in (False, True):
        assert boss.patch(f"/users/{person.id}", json={"is_active": active}).status_code == 200

    assert activate(person, token) == 400


def test_one_person_is_read_by_id(boss: Person, as_person: AsPerson) -> None:
    person = as_person()

    found = boss.get(f"/users/{person.id}")

    assert (found.status_code, found.json()["name"]) == (200, person.name)
    assert found.json() in boss.get("/users", params={"limit": 100}).json()
    assert boss.get(f"/users/{NOBODY}").status_code == 404
    assert person.get(f"/users/{person.id}").status_code == 403


def test_a_new_person_has_a_location(boss: Person) -> None:
    created = boss.post("/users", json={"name": "erin@example.com"})

    assert created.headers["location"] == f"/users/{created.json()['id']}"
    assert boss.get(created.headers["location"]).json()["name"] == "erin@example.com"


def test_people_are_found_by_a_part_of_their_name(client: TestClient, boss: Person) -> None:
    for name in ("Zoe@example.com", "zo_e@example.com", "zoltan@example.com"):
        create_person(client, name)

    def found(name: str) -> list[str]:
        return sorted(person["name"] for person in boss.get("/users", params={"name": name}).json())

    assert found("ZOE@") == ["Zoe@example.com"]
    assert found("zo_e") == ["zo_e@example.com"]
    assert found("zo%") == []
    assert len(found("zo")) == 3


@pytest.mark.parametrize(("method", "path"), [("post", "/users"), ("patch", "/users/{person_id}")])
def test_the_document_lists_the_conflicts_of_people(client: TestClient, method: str, path: str) -> None:
    assert "409" in client.get("/openapi.json").json()["paths"][path][method]["responses"]


def test_no_example_of_the_document_makes_an_administrator(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]

    for name in ("PersonCreate", "PersonChange"):
        (example,) = schemas[name]["properties"]["roles"]["examples"]
        assert ADMIN not in example


@pytest.mark.parametrize("ending", ["every session", "that session", "a refresh token that comes again"])
def test_the_invitation_of_a_thief_ends_with_the_session_that_was_stolen(as_person: AsPerson, ending: str) -> None:
    owner = as_person(role="admin")
    used = owner.tokens["refresh_token"]
    thief = dict(owner.headers)
    made = owner.post("/users", json={"name": "eve@example.com", "roles": ["admin"]}, headers=thief)
    owner.log_in()
    (stolen,) = [one["id"] for one in owner.get("/auth/sessions").json() if not one["current"]]

    if ending == "every session":
        owner.delete("/auth/sessions")
    elif ending == "that session":
        owner.delete(f"/auth/sessions/{stolen}")
    else:
        assert refresh(owner, used).status_code == 200
        with later(seconds=60):
            assert refresh(owner, used).status_code == 400

    assert activate(owner, made.json()["activation_token"]) == 400


def test_a_role_given_to_a_new_person_is_a_change_of_roles(boss: Person, recorded: list[dict[str, Any]]) -> None:
    made = boss.post("/users", json={"name": "eve@example.com", "roles": [ADMIN]})

    changes = [(row["subject"], row["reason"]) for row in recorded if row["event"] == Event.AUTHZ_CHANGE]
    assert changes == [(made.json()["id"], f"->{ADMIN}")]


def test_an_administrator_who_reaches_for_more_is_an_event(
    boss: Person, as_person: AsPerson, recorded: list[dict[str, Any]]
) -> None:
    other = as_person(role=ADMIN)
    recorded.clear()

    answers = [
        boss.post(f"/users/{other.id}/invite"),
        boss.patch(f"/users/{boss.id}", json={"roles": []}),
        boss.delete(f"/users/{boss.id}"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 3
    refused = [fields for fields in recorded if fields["event"] == Event.AUTHZ_FAIL]
    assert [fields["reason"] for fields in refused] == ["invites_an_administrator", "own_roles", "own_account"]
    assert {fields["actor"] for fields in refused} == {str(boss.id)}
