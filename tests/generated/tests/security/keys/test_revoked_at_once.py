"""What is revoked over HTTP holds at once in this process, whatever is cached."""

from collections.abc import Callable

from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.keys.test_key_routes import issue, rotate, status
from tests.security.persons import PASSWORD, Person

AsPerson = Callable[..., Person]
NEW = "seven quiet lamps behind"


def cached(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="30")


def test_a_key_that_was_rotated_without_an_overlap(make_client: MakeClient, as_person: AsPerson) -> None:
    client = cached(make_client)
    alice = as_person(client=client)
    key = issue(alice)
    assert status(client, key) == 200

    assert rotate(alice, key, overlap_hours=0).status_code == 201

    assert status(client, key) == 401


def test_a_role_that_was_taken(make_client: MakeClient, as_person: AsPerson) -> None:
    client = cached(make_client)
    boss, other = as_person(role="admin", client=client), as_person(role="admin", client=client)
    assert other.get("/users").status_code == 200

    assert boss.patch(f"/users/{other.id}", json={"roles": ["user"]}).status_code == 200

    assert other.get("/users").status_code == 403


def test_a_token_from_before_the_password_was_changed(make_client: MakeClient, as_person: AsPerson) -> None:
    alice = as_person(client=cached(make_client))
    change = {"current_password": PASSWORD, "new_password": NEW, "keep_other_sessions": True, "keep_api_keys": True}
    assert alice.get("/users/me").status_code == 200

    assert alice.post("/users/me/password", json=change).status_code == 200

    assert alice.get("/users/me").status_code == 401
