"""A token is refused that is not exactly ours, and every token of a session that has ended."""

import base64
import hmac
import json
import time
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.security.core.settings import keys_for
from tests.security.persons import PASSWORD, Person

AsPerson = Callable[..., Person]


def log_out(person: Person) -> None:
    assert person.post("/auth/logout").status_code == 204


def end_all(person: Person) -> None:
    assert person.delete("/auth/sessions").status_code == 204


def change_password(person: Person) -> None:
    change = {"current_password": PASSWORD, "new_password": "quite another 9 zebra lamp"}
    assert person.post("/users/me/password", json=change).status_code == 200


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(token: str, **changed: object) -> str:
    """This token with other claims, signed with the service's key."""
    header, claims = token.split(".")[:2]
    content = json.loads(base64.urlsafe_b64decode(claims + "==")) | changed
    text = f"{header}.{encoded(json.dumps(content, separators=(',', ':')).encode())}"
    return f"{text}.{encoded(hmac.digest(keys_for('jwt')[0], text.encode(), 'sha256'))}"


def test_a_token_with_another_signature_issuer_audience_or_time_is_refused(
    as_person: AsPerson, client: TestClient
) -> None:
    def status(token: str) -> int:
        return client.get("/users/me", headers={"Authorization": f"Bearer {token}"}).status_code

    token, now = as_person().tokens["access_token"], int(time.time())
    unsigned, none = token.rpartition(".")[0], encoded(b'{"alg":"none","typ":"at+jwt"}')
    expired = signed(token, iat=now - 300, nbf=now - 300, exp=now - 60)
    foreign = [signed(token, iss="https://evil.example"), signed(token, aud="another")]

    assert status(signed(token)) == 200
    for refused in (f"{unsigned}.{'A' * 43}", f"{none}.{token.split('.')[1]}.", unsigned, expired, *foreign):
        assert status(refused) == 401


ENDINGS = pytest.mark.parametrize("end", [log_out, end_all, change_password])


@pytest.mark.slow
@ENDINGS
def test_an_ending_holds_at_once_where_it_happens(as_person: AsPerson, end: Callable[[Person], None]) -> None:
    person = as_person()
    assert person.get("/users/me").status_code == 200

    end(person)

    assert person.get("/users/me").status_code == 401
