"""API keys of people over HTTP: issued for at most their own scopes, shown once, rotated and revoked."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.persons import PASSWORD, Person
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


def test_a_login_limited_to_scopes_issues_no_key(as_person: AsPerson) -> None:
    assert as_person(scope="vault:read").post("/api-keys", json=WANTED).status_code == 403


def test_two_credentials_at_once_are_refused(client: TestClient, alice: Person) -> None:
    for key in (issue(alice)["key"], "noise"):
        assert alice.get("/vault", headers={"X-API-Key": key}).status_code == 400


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
