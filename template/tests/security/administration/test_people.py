"""Administration of people: administrators after a recent login alone, and the changes that are always refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from starlette.testclient import TestClient

from app.security.access.roles import ADMIN, first_role
from app.security.administration.commands import end_every_session
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, log_in, refresh

AsPerson = Callable[..., Person]


@pytest.fixture
def boss(as_person: AsPerson) -> Person:
    return as_person(role=ADMIN)


def disable(by: Person, person: Person) -> Any:
    return by.patch(f"/users/{person.id}", json={"is_active": False})


@pytest.mark.slow
def test_a_new_person_sets_a_password_with_the_token_and_logs_in(client: TestClient, boss: Person) -> None:
    created = boss.post("/users", json={"name": "carol@example.com"})
    assert created.status_code == 201
    activation = {"token": created.json()["activation_token"], "password": PASSWORD}

    assert log_in(client, "carol@example.com").status_code == 400
    assert client.post("/auth/activate", json=activation).status_code == 204
    assert log_in(client, "carol@example.com").status_code == 200
    assert client.post("/auth/activate", json=activation).status_code == 400

    carol = next(person for person in boss.get("/users").json() if person["name"] == "carol@example.com")
    assert carol["roles"] == sorted(first_role())
    assert carol["is_activated"]


@pytest.mark.slow
def test_a_disabled_person_is_out_at_once_and_may_come_back(boss: Person, as_person: AsPerson) -> None:
    person = as_person()

    assert boss.patch(f"/users/{person.id}", json={"is_active": False}).json()["is_active"] is False
    assert person.get("/users/me").status_code == 401
    assert refresh(person, person.tokens["refresh_token"]).status_code == 400
    assert boss.patch(f"/users/{person.id}", json={"is_active": True}).json()["is_active"] is True
    person.log_in()


@pytest.mark.slow
def test_nobody_changes_their_own_roles(boss: Person) -> None:
    assert boss.patch(f"/users/{boss.id}", json={"roles": []}).status_code == 403
    assert boss.get("/users").status_code == 200


@pytest.mark.slow
def test_the_last_administrator_stays(boss: Person) -> None:
    assert boss.patch(f"/users/{boss.id}", json={"is_active": False}).status_code == 409
    assert boss.get("/users").status_code == 200


def test_power_over_people_needs_a_recent_login(
    make_client: MakeClient, as_person: AsPerson, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(AUTH_CACHE_SECONDS="0")
    boss, person = as_person(role=ADMIN, client=client), as_person(client=client)
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/users", {"name": "eve@example.com"}),
        ("POST", f"/users/{person.id}/invite", None),
        ("PATCH", f"/users/{person.id}", {"is_active": False}),
        ("DELETE", f"/users/{person.id}/sessions", None),
    ]

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16), tick=True):
        boss.use(refresh(boss, boss.tokens["refresh_token"]).json())
        refused = [boss.request(method, path, json=body) for method, path, body in calls]
        boss.log_in()
        allowed = [boss.request(method, path, json=body) for method, path, body in calls]

    for answer in refused:
        assert answer.status_code == 401
        assert 'error="insufficient_user_authentication", max_age="900"' in answer.headers["www-authenticate"]
        assert answer.json()["type"] == "recent-login-required"
    assert [answer.status_code for answer in allowed] == [201, 200, 200, 204]
    tried = [(fields["actor"], fields["reason"]) for fields in recorded if fields["event"] == "authz_fail"]
    assert tried == [(str(boss.id), "insufficient_user_authentication")] * len(calls)


@pytest.mark.slow
def test_people_are_listed_page_by_page_without_their_hashes(boss: Person, as_person: AsPerson) -> None:
    everyone = {str(boss.id), *(str(as_person().id) for _ in range(3))}

    first = boss.get("/users", params={"limit": 3})
    second = boss.get("/users", params={"limit": 3, "after": first.json()[-1]["id"]})

    assert {person["id"] for person in first.json() + second.json()} == everyone
    assert "argon2" not in first.text + second.text
    assert "hash" not in first.text + second.text


def activate(client: TestClient, token: str) -> int:
    return client.post("/auth/activate", json={"token": token, "password": "seven quiet lamps behind"}).status_code


@pytest.mark.slow
def test_over_http_no_invitation_sets_an_administrators_password(boss: Person, as_person: AsPerson) -> None:
    other = as_person(role=ADMIN)

    assert boss.post(f"/users/{boss.id}/invite").status_code == 403
    assert boss.post(f"/users/{other.id}/invite").status_code == 403


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost", ["disabled", "disabled behind the app", "password", "version", "all sessions", "role", "own sessions"]
)
def test_an_invitation_ends_with_the_power_of_its_issuer(
    client: TestClient, boss: Person, as_person: AsPerson, lost: str
) -> None:
    issuer, person = as_person(role=ADMIN), as_person()
    token = issuer.post(f"/users/{person.id}/invite").json()["activation_token"]
    mine = {"current_password": PASSWORD, "new_password": "nine loud ravens above"}

    if lost == "disabled":
        assert disable(boss, issuer).status_code == 200
        assert boss.patch(f"/users/{issuer.id}", json={"is_active": True}).status_code == 200
    elif lost == "password":
        assert issuer.post("/users/me/password", json=mine).status_code == 200
    elif lost == "role":
        assert boss.patch(f"/users/{issuer.id}", json={"roles": []}).status_code == 200
    elif lost == "own sessions":
        assert boss.delete(f"/users/{issuer.id}/sessions").status_code == 204
    elif lost == "all sessions":
        Database(client).run(end_every_session)
    else:
        column = "token_version = token_version + 1" if lost == "version" else "is_active = false"
        Database(client).rows(f"UPDATE accounts SET {column} WHERE name = :name", name=issuer.name)  # noqa: S608

    assert activate(client, token) == 400
