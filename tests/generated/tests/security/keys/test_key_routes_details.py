"""API keys of people over HTTP: issued for at most their own scopes, shown once, rotated and revoked."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.keys.test_key_routes import WANTED, AsPerson, alice, client_of_the_vault, issue, rotate, status  # noqa: F401
from tests.security.persons import PASSWORD, Person, refresh
from tests.security.terminal import Manage
from tests.security.timing import later

NEW_PASSWORD = "seven quiet lamps behind"


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


def test_a_refused_scope_names_the_scopes_there_are(alice: Person) -> None:
    (error,) = alice.post("/api-keys", json=WANTED | {"scopes": ["vault:steal"]}).json()["errors"]

    assert error["pointer"] == "/body/scopes"
    assert "vault:read" in error["detail"]
    assert "vault:steal" not in error["detail"]


def test_the_example_of_the_document_issues_a_key(alice: Person) -> None:
    document = alice.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    members = schemas["KeyCreate"]["properties"]
    scopes = schemas[members["scopes"]["items"]["$ref"].rpartition("/")[2]]["enum"]

    response = alice.post("/api-keys", json={"name": members["name"]["examples"][0], "scopes": scopes[:1]})

    assert response.status_code == 201
    assert response.headers["location"] == f"/api-keys/{response.json()['id']}"
    assert scopes == sorted(document["components"]["securitySchemes"]["bearer"]["flows"]["password"]["scopes"])


def test_the_successor_of_a_key_has_a_location(alice: Person) -> None:
    new = rotate(alice, issue(alice))

    assert new.headers["location"] == f"/api-keys/{new.json()['id']}"


@pytest.mark.parametrize("path", ["/api-keys", "/api-keys/{key_id}/rotate"])
def test_the_document_lists_the_conflicts_of_keys(client: TestClient, path: str) -> None:
    conflict = client.get("/openapi.json").json()["paths"][path]["post"]["responses"]["409"]

    content = conflict["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert (content["example"]["status"], content["example"]["title"]) == (409, "Conflict")


def test_a_key_that_was_issued_in_a_stolen_session_ends_with_it(
    client: TestClient, alice: Person, recorded: list[dict[str, Any]]
) -> None:
    older, account = issue(alice), alice.get("/users/me").json()["id"]
    with later(minutes=30):
        alice.log_in()
        used, stolen = alice.tokens["refresh_token"], issue(alice)
        refresh(alice, used)
        assert (status(client, older), status(client, stolen)) == (200, 200)

    with later(minutes=31):
        assert refresh(alice, used).status_code == 400
        assert (status(client, older), status(client, stolen)) == (200, 401)
    assert [fields["actor"] for fields in recorded if fields["event"] == "api_key_revoked"] == [account]


def test_a_thief_who_ends_the_session_keeps_no_key_of_it(client: TestClient, alice: Person) -> None:
    used, stolen = alice.tokens["refresh_token"], issue(alice)
    newest = refresh(alice, used).json()["refresh_token"]
    alice.post("/auth/revoke", data={"token": newest})
    assert status(client, stolen) == 200

    with later(minutes=1):
        alice.log_in()
        later_key = issue(alice)
        assert refresh(alice, used).status_code == 400
        assert (status(client, stolen), status(client, later_key)) == (401, 200)


@pytest.mark.parametrize("days", [8, 31], ids=["idle", "expired"])
def test_a_key_of_a_thief_ends_also_where_the_session_is_over(client: TestClient, alice: Person, days: int) -> None:
    used, stolen = alice.tokens["refresh_token"], issue(alice)
    refresh(alice, used)

    with later(days=days):
        assert status(client, stolen) == 200
        assert refresh(alice, used).status_code == 400
        assert status(client, stolen) == 401


def test_a_victim_who_logs_out_with_a_used_token_finds_the_thief(
    client: TestClient, alice: Person, recorded: list[dict[str, Any]]
) -> None:
    used, stolen = alice.tokens["refresh_token"], issue(alice)
    refresh(alice, used)

    with later(minutes=1):
        assert alice.post("/auth/revoke", data={"token": used}).status_code == 200
        assert status(client, stolen) == 401
    assert "authn_token_reuse" in [fields["event"] for fields in recorded]
