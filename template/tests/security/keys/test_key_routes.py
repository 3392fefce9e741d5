"""API keys of people over HTTP: issued for at most their own scopes, shown once, rotated and revoked."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access.identity import require_scope
from app.security.authentication.recent_login import recent_login
from tests.security.build_app import assemble, forgotten
from tests.security.callers import CallerClient, client_from
from tests.security.every_route import guarded_calls
from tests.security.fixtures import MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.persons import Person
from tests.security.timing import later

AsPerson = Callable[..., Person]
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


@pytest.mark.slow
def test_a_key_is_never_a_recent_login(make_client: MakeClient, as_person: AsPerson) -> None:
    guard = [require_scope("vault:read"), recent_login]
    client = make_client(build=lambda: assemble(lambda app: app.get("/vault", dependencies=guard)(forgotten)))
    alice = as_person(client=client)

    assert (alice.get("/vault").status_code, status(client, issue(alice))) == (200, 401)


@pytest.mark.slow
def test_a_key_never_manages_keys_people_or_sessions(client: TestClient, as_person: AsPerson) -> None:
    made = issue(as_person(role="admin"), scopes=client.app.state.policies.scopes())  # type: ignore[attr-defined]
    program = client_from(client, CallerClient)
    program.headers["X-API-Key"] = made["key"]
    unscoped = [call for call in guarded_calls(client) if not call.policy.scopes]

    assert {"/api-keys", "/auth/sessions", "/users/me"} <= {call.path for call in unscoped}
    assert {(call.method, call.path): call.status(program) for call in unscoped} == {
        (call.method, call.path): 403 for call in unscoped
    }


@pytest.mark.slow
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
