"""`POST /auth/token` speaks RFC 6749, whatever is sent to it, so that standard OAuth 2 clients work unchanged."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.http.test_headers import EXPECTED
from tests.security.persons import PASSWORD, create_person, log_in, refresh

CANARY = "canary-2f7c1e"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LOG_IN = f"grant_type=password&username=alice@example.com&password={PASSWORD.replace(' ', '+')}"
MALFORMED = {
    "nothing": "",
    "only a name": "a",
    "only signs": "&&&===&",
    "no grant type": "username=alice&password=x",
    "an empty grant type": "grant_type=&username=alice&password=x",
    "no password": "grant_type=password&username=alice",
    "an empty password": "grant_type=password&username=alice&password=",
    "no name": "grant_type=password&password=x",
    "an empty name": "grant_type=password&username=&password=x",
    "no refresh token": "grant_type=refresh_token",
    "grant type twice": "grant_type=password&grant_type=password&username=alice&password=x",
    "grant type twice, once empty": "grant_type=password&grant_type=&username=alice&password=x",
    "name twice": "grant_type=password&username=alice&username=bob&password=x",
    "password twice": "grant_type=password&username=alice&password=x&password=x",
    "an unknown parameter twice": "grant_type=password&username=alice&password=x&a=1&a=1",
    "a name that is no UTF-8": "grant_type=password&username=%ff%fe&password=x",
    "half a surrogate": "grant_type=password&username=%ED%A0%80&password=x",
    "bytes that are no UTF-8": b"grant_type=password&username=\xff\xfe&password=x",
    "more parameters than anyone needs": "grant_type=password&" + "&".join(f"a{number}=1" for number in range(50)),
}


def post(client: TestClient, body: str | bytes, **headers: str) -> Any:
    return client.post("/auth/token", content=body, headers=FORM | headers)


def test_what_cannot_be_read_is_an_invalid_request(client: TestClient) -> None:
    answers = {kind: post(client, body) for kind, body in MALFORMED.items()}

    found = {kind: (answer.status_code, answer.json().get("error")) for kind, answer in answers.items()}
    assert found == dict.fromkeys(MALFORMED, (400, "invalid_request"))
    for answer in answers.values():
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["error_description"]
        assert "alice" not in answer.text


def test_only_two_grant_types_are_known(client: TestClient) -> None:
    for grant_type in ("client_credentials", "authorization_code", "PASSWORD", "password ", "\0", "пароль"):
        answer = client.post("/auth/token", data={"grant_type": grant_type, "username": "alice", "password": "x"})

        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def test_a_strange_name_is_only_a_wrong_one(client: TestClient) -> None:
    for text in ("%", "%zz", "%u0041", "+", "%00", "%0d%0a", "%25", ";a=1", "%F0%9F%94%91"):
        answer = post(client, f"grant_type=password&username={text}&password={text}")

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_unknown_parameters_are_ignored(client: TestClient) -> None:
    create_person(client, "alice@example.com")

    answer = log_in(client, "alice@example.com", client_id="app", client_secret="", resource="x", is_admin="true")

    assert answer.status_code == 200


def test_a_made_up_refresh_token_is_refused(client: TestClient) -> None:
    for token in ("rt_" + "a" * 43, "x", "rt_", "\0", "rt_" + "a" * 5000, "ü", "' OR 1=1--"):
        answer = client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_the_form_may_name_its_charset(client: TestClient) -> None:
    create_person(client, "alice@example.com")

    assert post(client, LOG_IN, **{"Content-Type": FORM["Content-Type"] + "; charset=UTF-8"}).status_code == 200


def test_a_form_is_bounded(client: TestClient) -> None:
    assert post(client, "grant_type=password&username=alice&password=" + "x" * 70_000).status_code == 413


def test_an_invalid_credential_does_not_disturb_a_login(client: TestClient) -> None:
    """A client that still sends its ended token can log in again."""
    create_person(client, "alice@example.com")
    client.headers["Authorization"] = "Bearer ended"

    assert log_in(client, "alice@example.com").status_code == 200


def test_a_throttled_answer_has_the_headers_of_every_other(client: TestClient) -> None:
    answers = [refresh(client, "x") for _ in range(31)]

    assert answers[-1].status_code == 429
    assert {name: answers[-1].headers.get(name) for name in EXPECTED} == EXPECTED


def test_a_password_is_not_echoed(client: TestClient) -> None:
    for body in ({"token": 1, "password": CANARY}, {"token": "x", "password": [CANARY]}, {"password": CANARY * 500}):
        answer = client.post("/auth/activate", json=body)
        assert answer.status_code == 422
        assert CANARY not in answer.text


def form(client: TestClient, path: str) -> Any:
    body = client.get("/openapi.json").json()["paths"][path]["post"]["requestBody"]
    assert body["required"]
    return body["content"]["application/x-www-form-urlencoded"]["schema"]


def test_the_document_marks_what_a_form_requires(client: TestClient) -> None:
    token = form(client, "/auth/token")

    assert token["required"] == ["grant_type"]
    assert token["properties"]["grant_type"]["enum"] == ["password", "refresh_token"]
    assert token["properties"]["password"]["format"] == "password"
    assert form(client, "/auth/revoke")["required"] == ["token"]


def test_the_document_says_how_to_authorize_and_what_a_scope_opens(client: TestClient) -> None:
    scheme = client.get("/openapi.json").json()["components"]["securitySchemes"]["bearer"]

    assert "leave client_id, client_secret and the scopes empty" in scheme["description"]
    assert scheme["flows"]["password"]["scopes"]["notes:write"].startswith("POST /notes, ")


@pytest.mark.parametrize("path", ["/users/me/password", "/auth/activate"])
def test_the_document_lists_the_conflicts_of_passwords(client: TestClient, path: str) -> None:
    assert "409" in client.get("/openapi.json").json()["paths"][path]["post"]["responses"]
