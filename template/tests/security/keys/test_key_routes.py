"""API keys of people over HTTP: issued for at most their own scopes, shown once, rotated and revoked."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.authentication.persons import PASSWORD, Person
from tests.security.callers import CallerClient, client_from
from tests.security.every_route import guarded_calls
from tests.security.fixtures import MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.terminal import Manage
from tests.security.timing import later

AsPerson = Callable[..., Person]
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


def status(client: TestClient, made: dict[str, Any]) -> int:
    return client.get("/vault", headers={"X-API-Key": made["key"]}).status_code


def rotate(person: Person, made: dict[str, Any], **body: int) -> Any:
    return person.post(f"/api-keys/{made['id']}/rotate", **({"json": body} if body else {}))  # type: ignore[arg-type]


def test_a_key_calls_as_its_owner_and_is_shown_once(client: TestClient, alice: Person) -> None:
    made = issue(alice)

    response = client.get("/vault", headers={"X-API-Key": made["key"]})

    listed = alice.get("/api-keys").json()
    assert response.json()["id"] == str(alice.id)
    assert [{**key, "last_used_at": None} for key in listed] == [{name: made[name] for name in made if name != "key"}]
    assert made["key"].rpartition("_")[2] not in str(listed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bad",
    [
        {"expires_in_days": 366},
        {"scopes": []},
        {"scopes": ["vault:read", "vault:steal"]},
        {"name": "\x1b[2Kmine"},
        {"account_id": "00000000-0000-4000-8000-000000000000"},
        {"scopes": ["vault:read"] * 41},
    ],
)
def test_an_invalid_request_issues_no_key(alice: Person, bad: dict[str, object]) -> None:
    assert alice.post("/api-keys", json=WANTED | bad).status_code == 422
    assert alice.get("/api-keys").json() == []


@pytest.mark.slow
def test_issuing_and_rotating_need_a_recent_login(alice: Person) -> None:
    made = issue(alice)
    form = {"grant_type": "refresh_token", "refresh_token": alice.tokens["refresh_token"]}

    with later(minutes=16):
        alice.use(alice.tokens | TestClient.post(alice, "/auth/token", data=form).json())
        responses = [alice.post("/api-keys", json=WANTED), rotate(alice, made)]
        ended = alice.delete(f"/api-keys/{made['id']}")

    assert [response.status_code for response in responses] == [401, 401]
    assert 'error="insufficient_user_authentication"' in responses[0].headers["www-authenticate"]
    assert ended.status_code == 204


def test_a_login_limited_to_scopes_issues_no_key(as_person: AsPerson) -> None:
    assert as_person(scope="vault:read").post("/api-keys", json=WANTED).status_code == 403


def test_a_key_never_manages_keys_people_or_sessions(client: TestClient, as_person: AsPerson) -> None:
    made = issue(as_person(role="admin"), scopes=client.app.state.policies.scopes())  # type: ignore[attr-defined]
    program = client_from(client, CallerClient)
    program.headers["X-API-Key"] = made["key"]
    unscoped = [call for call in guarded_calls(client) if not call.policy.scopes]

    assert {"/api-keys", "/auth/sessions", "/users/me"} <= {call.path for call in unscoped}
    assert {(call.method, call.path): call.status(program) for call in unscoped} == {
        (call.method, call.path): 403 for call in unscoped
    }


def test_two_credentials_at_once_are_refused(client: TestClient, alice: Person) -> None:
    for key in (issue(alice)["key"], "noise"):
        assert alice.get("/vault", headers={"X-API-Key": key}).status_code == 400


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

    assert bob.delete(f"/api-keys/{made['id']}").status_code == rotate(bob, made).status_code == 404
    assert bob.get("/api-keys").json() == []
    assert status(client, made) == 200


def test_a_rotated_key_has_a_successor_and_ends_after_the_overlap(client: TestClient, alice: Person) -> None:
    old = issue(alice, expires_in_days=30)

    new = rotate(alice, old, overlap_hours=2).json()

    again = rotate(alice, old).status_code
    assert (new["name"], new["scopes"], again) == (old["name"], old["scopes"], 409)
    for delta, expected in (
        ({"hours": 1, "minutes": 59}, (200, 200)),
        ({"hours": 2}, (401, 200)),
        ({"days": 29}, (401, 200)),
        ({"days": 30, "minutes": 1}, (401, 401)),
    ):
        with later(**delta):
            assert (status(client, old), status(client, new)) == expected


@pytest.mark.slow
def test_the_longest_overlap_is_a_setting(make_client: MakeClient, as_person: AsPerson) -> None:
    client = make_client(build=app_with_a_vault, API_KEY_OVERLAP_HOURS="0")
    alice = as_person(client=client)
    old = issue(alice)

    rotate(alice, old, overlap_hours=24)

    assert status(client, old) == 401


@pytest.mark.slow
@pytest.mark.parametrize(("more", "expected"), [({}, 401), ({"keep_api_keys": True}, 200)])
def test_a_change_of_password_ends_the_keys_unless_they_are_kept(
    client: TestClient, alice: Person, more: dict[str, bool], expected: int
) -> None:
    made = issue(alice)

    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, **more}
    assert alice.post("/users/me/password", json=body).status_code == 200

    assert status(client, made) == expected


@pytest.mark.slow
def test_a_password_that_is_set_by_invitation_ends_the_keys(client: TestClient, alice: Person, manage: Manage) -> None:
    made = issue(alice)
    token = manage("users", "invite", alice.name).stdout.strip()

    activated = client.post("/auth/activate", json={"token": token, "password": NEW_PASSWORD})

    assert (activated.status_code, status(client, made)) == (204, 401)
