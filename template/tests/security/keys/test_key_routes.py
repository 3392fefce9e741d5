"""API keys of people over HTTP: issued for at most their own scopes, shown once, rotated and revoked."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.administration import invitations
from app.security.core.tables import Account
from tests.security.authentication.persons import PASSWORD, Person
from tests.security.callers import CallerClient, client_from
from tests.security.every_route import guarded_calls
from tests.security.fixtures import Database, MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.timing import later

AsPerson = Callable[..., Person]
NOBODY = "00000000-0000-4000-8000-000000000000"
NEW_PASSWORD = "seven quiet lamps behind"
WANTED = {"name": "nightly", "scopes": ["vault:read"]}


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


@pytest.fixture
def alice(as_person: AsPerson) -> Person:
    return as_person()


def issue(person: Person, **more: object) -> dict[str, Any]:
    response = person.post("/api-keys", json=WANTED | more)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def status(client: TestClient, made: dict[str, Any], path: str = "/vault", method: str = "GET") -> int:
    return client.request(method, path, headers={"X-API-Key": made["key"]}).status_code


def rotate(person: Person, made: dict[str, Any], **body: int) -> Any:
    return person.post(f"/api-keys/{made['id']}/rotate", **({"json": body} if body else {}))  # type: ignore[arg-type]


def test_a_key_calls_as_its_owner(client: TestClient, alice: Person) -> None:
    made = issue(alice)

    response = client.get("/vault", headers={"X-API-Key": made["key"]})

    assert response.json()["id"] == str(alice.id)


def test_a_key_is_shown_once(alice: Person) -> None:
    made = issue(alice)

    listed = alice.get("/api-keys").json()

    assert listed == [{name: value for name, value in made.items() if name != "key"}]
    assert made["last_four"] == made["key"][-4:]
    assert made["key"].rpartition("_")[2] not in str(listed)


def test_a_key_ends_after_ninety_days_unless_asked_otherwise(client: TestClient, alice: Person) -> None:
    made = issue(alice)

    with later(days=89):
        assert status(client, made) == 200
    with later(days=90, minutes=1):
        assert status(client, made) == 401


@pytest.mark.parametrize(
    "bad",
    [
        {"expires_in_days": 366},
        {"scopes": []},
        {"scopes": ["vault:read", "vault:steal"]},
        {"name": ""},
        {"name": "\x1b[2Kmine"},
        {"account_id": NOBODY},
        {"scopes": ["vault:read"] * 41},
    ],
)
def test_an_invalid_request_issues_no_key(alice: Person, bad: dict[str, object]) -> None:
    assert alice.post("/api-keys", json=WANTED | bad).status_code == 422
    assert alice.get("/api-keys").json() == []


def test_issuing_and_rotating_need_a_recent_login(alice: Person) -> None:
    made = issue(alice)

    with later(minutes=16):
        alice.use(alice.tokens | _refreshed(alice))
        responses = [alice.post("/api-keys", json=WANTED), rotate(alice, made)]
        ended = alice.delete(f"/api-keys/{made['id']}")

    assert [response.status_code for response in responses] == [401, 401]
    assert 'error="insufficient_user_authentication"' in responses[0].headers["www-authenticate"]
    assert ended.status_code == 204


def _refreshed(person: Person) -> dict[str, Any]:
    form = {"grant_type": "refresh_token", "refresh_token": person.tokens["refresh_token"]}
    found: dict[str, Any] = TestClient.post(person, "/auth/token", data=form).json()
    return found


def test_a_login_limited_to_scopes_issues_no_key(as_person: AsPerson) -> None:
    assert as_person(scope="vault:read").post("/api-keys", json=WANTED).status_code == 403


def test_a_key_never_manages_keys_people_or_sessions(client: TestClient, as_person: AsPerson) -> None:
    boss = as_person(role="admin")
    scopes = client.app.state.policies.scopes()  # type: ignore[attr-defined]
    made = issue(boss, scopes=scopes)
    program = client_from(client, CallerClient)
    program.headers["X-API-Key"] = made["key"]
    unscoped = [call for call in guarded_calls(client) if not call.policy.scopes]

    assert {"/api-keys", "/auth/sessions", "/users/me"} <= {call.path for call in unscoped}
    assert {(call.method, call.path): call.status(program) for call in unscoped} == {
        (call.method, call.path): 403 for call in unscoped
    }


def test_two_credentials_at_once_are_refused(client: TestClient, alice: Person) -> None:
    made = issue(alice)

    both = alice.get("/vault", headers={"X-API-Key": made["key"]})
    with_noise = alice.get("/vault", headers={"X-API-Key": "noise"})

    assert (both.status_code, with_noise.status_code) == (400, 400)


def test_a_revoked_key_is_refused_at_the_next_request(make_client: MakeClient, as_person: AsPerson) -> None:
    client = make_client(build=app_with_a_vault)  # with its cache
    alice = as_person(client=client)
    made = issue(alice)
    assert status(client, made) == 200

    assert alice.delete(f"/api-keys/{made['id']}").status_code == 204

    assert status(client, made) == 401
    assert alice.delete(f"/api-keys/{made['id']}").status_code == 404


def test_the_key_of_another_person_does_not_exist(client: TestClient, alice: Person, as_person: AsPerson) -> None:
    made, bob = issue(alice), as_person()

    assert bob.delete(f"/api-keys/{made['id']}").status_code == 404
    assert rotate(bob, made).status_code == 404
    assert bob.get("/api-keys").json() == []
    assert status(client, made) == 200


def test_a_rotated_key_has_a_successor_and_ends_after_the_overlap(client: TestClient, alice: Person) -> None:
    old = issue(alice, expires_in_days=30)

    new = rotate(alice, old, overlap_hours=2).json()

    assert (new["name"], new["scopes"]) == (old["name"], old["scopes"])
    assert (status(client, old), status(client, new)) == (200, 200)
    with later(hours=1, minutes=59):
        assert status(client, old) == 200
    with later(hours=2):
        assert (status(client, old), status(client, new)) == (401, 200)
    with later(days=29):
        assert status(client, new) == 200
    with later(days=30, minutes=1):
        assert status(client, new) == 401


def test_the_longest_overlap_is_a_setting(make_client: MakeClient, as_person: AsPerson) -> None:
    client = make_client(build=app_with_a_vault, API_KEY_OVERLAP_HOURS="0")
    alice = as_person(client=client)
    old = issue(alice)

    rotate(alice, old, overlap_hours=24)

    assert status(client, old) == 401
    assert rotate(alice, old, overlap_hours=25).status_code == 422


def change_password(person: Person, **more: bool) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, **more}
    assert person.post("/users/me/password", json=body).status_code == 200


@pytest.mark.parametrize(("more", "expected"), [({}, 401), ({"keep_api_keys": True}, 200)])
def test_a_change_of_password_ends_the_keys_unless_they_are_kept(
    client: TestClient, alice: Person, as_person: AsPerson, more: dict[str, bool], expected: int
) -> None:
    made, other = issue(alice), issue(as_person())

    change_password(alice, **more)

    assert (status(client, made), status(client, other)) == (expected, 200)


def test_an_invitation_that_sets_a_password_ends_the_keys(client: TestClient, alice: Person) -> None:
    made = issue(alice)

    async def invite(db: AsyncSession) -> str:
        return await invitations.invite(db, await db.get_one(Account, alice.id))

    activation = {"token": Database(client).run(invite), "password": NEW_PASSWORD}
    assert client.post("/auth/activate", json=activation).status_code == 204

    assert status(client, made) == 401
