"""Access tokens: what is not exactly ours, or does not hold any more, is nobody's (RFC 6750, RFC 8725, RFC 9068)."""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.tables import Account, Session, utc_now
from tests.security.authentication.hostile_tokens import HOSTILE, Forge, decode
from tests.security.fixtures import BASE_ENVIRONMENT, Database, MakeClient
from tests.security.persons import PASSWORD, Person, refresh

AsPerson = Callable[..., Person]
CLAIMS = {
    *("iss", "aud", "sub", "client_id", "iat", "nbf", "exp", "jti", "sid", "ver", "auth_time", "scope", "roles"),
}


def me(client: TestClient, token: str | bytes, scheme: str = "Bearer") -> Response:
    value = token.encode("latin-1") if isinstance(token, str) else token
    return client.get("/users/me", headers={"Authorization": f"{scheme} ".encode() + value})


def access_token(person: Person) -> str:
    return str(person.tokens["access_token"])


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = token.split(".")
    return json.loads(decode(header)), json.loads(decode(claims))


@pytest.fixture
def forge(as_person: AsPerson) -> Forge:
    alice, bob = as_person(), as_person()
    return Forge(access_token(alice), refresh_token=alice.tokens["refresh_token"], foreign=access_token(bob))


def test_a_token_that_we_forge_with_nothing_wrong_is_accepted(client: TestClient, forge: Forge) -> None:
    """So the corpus below is refused for what is wrong in it, and not for how it is made."""
    for token in (
        forge.sign(forge.header, forge.claims),
        forge.at(iat=0, nbf=0, exp=900),
        forge.at(iat=-300, nbf=-300, exp=-3),  # the clocks of two machines may differ by ten seconds
        forge.at(iat=5, nbf=5, exp=300),
        forge.with_claims(scope="x" * 1500),
    ):
        assert me(client, token).status_code == 200


def test_the_header_and_the_claims_are_written_in_one_way(as_person: AsPerson) -> None:
    """Tokens are compared byte for byte: another spelling, by a new release of a library, would refuse live ones."""
    header, claims, _ = access_token(as_person()).split(".")
    key_id = json.loads(decode(header))["kid"]

    assert decode(header) == f'{{"alg":"HS256","kid":"{key_id}","typ":"at+jwt"}}'.encode()
    assert decode(claims) == json.dumps(json.loads(decode(claims)), separators=(",", ":")).encode()
    assert list(json.loads(decode(claims))) == [
        *("iss", "aud", "sub", "client_id", "iat", "nbf", "exp", "jti", "sid", "ver", "auth_time", "scope", "roles"),
    ]


def test_every_hostile_token_gets_the_same_401(client: TestClient, forge: Forge) -> None:
    answers = {name: me(client, make(forge)) for name, make in HOSTILE.items()}

    assert len(answers) >= 60
    assert {name: answer.status_code for name, answer in answers.items() if answer.status_code != 401} == {}
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {
        'Bearer realm="api", error="invalid_token"'
    }
    assert len({json.dumps({**answer.json(), "instance": ""}) for answer in answers.values()}) == 1


def test_the_reason_is_in_the_log_alone(client: TestClient, forge: Forge, recorded: list[dict[str, Any]]) -> None:
    me(client, forge.at(iat=-600, nbf=-600, exp=-60))
    me(client, forge.sign(forge.header, forge.claims, key=secrets.token_bytes(32)))

    reasons = {event["reason"] for event in recorded if event["event"] == "request"}

    assert len(reasons) == 2


def test_a_request_without_a_credential_is_challenged_without_an_error_code(client: TestClient) -> None:
    answer = client.get("/users/me")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="api"'


def test_a_token_counts_in_the_authorization_header_alone(client: TestClient, as_person: AsPerson) -> None:
    token = access_token(as_person())
    elsewhere = [
        client.get("/users/me", params={"access_token": token}),
        client.get("/users/me", params={"token": token}),
        client.get("/users/me", headers={"Cookie": f"access_token={token}; Authorization=Bearer {token}"}),
        client.get("/users/me", headers={"X-Access-Token": token, "Proxy-Authorization": f"Bearer {token}"}),
        client.get("/users/me", headers={"X-API-Key": token}),
        client.post("/users/me/password", json={"access_token": token}),
        me(client, token, scheme="Basic"),
        me(client, token, scheme="Token"),
        client.get("/users/me", headers={"Authorization": token}),
    ]

    assert [answer.status_code for answer in elsewhere] == [401] * len(elsewhere)


def test_the_scheme_is_written_in_any_case(client: TestClient, as_person: AsPerson) -> None:
    assert me(client, access_token(as_person()), scheme="bEARER").status_code == 200


def test_a_token_has_no_claim_beyond_the_required_ones(as_person: AsPerson) -> None:
    person = as_person()
    text, (header, claims) = access_token(person), parts(access_token(person))

    assert set(header) == {"alg", "typ", "kid"}
    assert set(claims) == CLAIMS
    assert claims["exp"] - claims["iat"] == person.tokens["expires_in"] == 600
    assert person.name not in decode(text.split(".")[1]).decode()


def test_every_token_has_an_id_of_its_own(as_person: AsPerson) -> None:
    person = as_person()
    first = parts(access_token(person))[1]
    second = parts(refresh(person, person.tokens["refresh_token"]).json()["access_token"])[1]

    assert first["jti"] != second["jti"]
    assert first["sid"] == second["sid"]
    assert first["auth_time"] == second["auth_time"] <= time.time()


@pytest.mark.parametrize("minutes", ["16", "0", "-1", "ten"])
def test_a_token_cannot_be_set_to_live_longer(make_client: MakeClient, minutes: str) -> None:
    with pytest.raises(SystemExit) as refused:
        make_client(ACCESS_TOKEN_MINUTES=minutes)

    assert refused.value.code == 78


def test_a_secret_of_less_than_32_bytes_signs_nothing(make_client: MakeClient) -> None:
    with pytest.raises(SystemExit) as refused:
        make_client(SECRET_KEY=secrets.token_hex(31))

    assert refused.value.code == 78


def test_an_older_secret_verifies_until_it_is_dropped(make_client: MakeClient, as_person: AsPerson) -> None:
    old, new = BASE_ENVIRONMENT["SECRET_KEY"], secrets.token_hex(64)
    person = as_person(client=make_client())
    token = access_token(person)

    rotated = make_client(SECRET_KEY=new, SECRET_KEY_FALLBACKS=old)
    during = me(rotated, token)
    renewed = refresh(rotated, person.tokens["refresh_token"]).json()
    dropped = make_client(SECRET_KEY_FALLBACKS="")

    assert during.status_code == 200
    assert parts(renewed["access_token"])[0]["kid"] != parts(token)[0]["kid"]
    assert me(dropped, token).status_code == 401
    assert me(dropped, renewed["access_token"]).status_code == 200
    assert refresh(dropped, renewed["refresh_token"]).status_code == 200  # sessions outlive a rotation


async def _disable(db: AsyncSession, person: Person) -> None:
    await db.execute(update(Account).where(Account.id == person.id).values(is_active=False))


async def _disable_properly(db: AsyncSession, person: Person) -> None:
    await accounts.set_active(db, await db.get_one(Account, person.id), False)


async def _raise_version(db: AsyncSession, person: Person) -> None:
    await db.execute(update(Account).where(Account.id == person.id).values(token_version=Account.token_version + 1))


async def _end_sessions(db: AsyncSession, person: Person) -> None:
    await accounts.end_sessions(db, person.id)


async def _let_session_pass(db: AsyncSession, person: Person) -> None:
    await db.execute(update(Session).where(Session.account_id == person.id).values(expires_at=utc_now()))


async def _delete(db: AsyncSession, person: Person) -> None:
    await db.delete(await db.get_one(Account, person.id))


@pytest.mark.parametrize(
    "end", [_disable, _disable_properly, _raise_version, _end_sessions, _let_session_pass, _delete]
)
def test_the_same_token_ends_with_what_it_stands_on(
    make_client: MakeClient, as_person: AsPerson, end: Callable[[AsyncSession, Person], Any]
) -> None:
    client = make_client(AUTH_CACHE_SECONDS="0")
    alice, bob = as_person(client=client), as_person(client=client)
    assert alice.get("/users/me").status_code == 200

    Database(client).run(lambda db: end(db, alice))

    assert alice.get("/users/me").status_code == 401
    assert bob.get("/users/me").status_code == 200


def _log_out(person: Person) -> Response:
    return person.post("/auth/logout")


def _end_all(person: Person) -> Response:
    return person.delete("/auth/sessions")


def _revoke(person: Person) -> Response:
    return person.post("/auth/revoke", data={"token": person.tokens["refresh_token"]})


def _change_password(person: Person) -> Response:
    change = {"current_password": PASSWORD, "new_password": "seven quiet lamps behind"}
    return person.post("/users/me/password", json=change)


@pytest.mark.parametrize("end", [_log_out, _end_all, _revoke, _change_password])
def test_a_session_ended_over_http_ends_at_once_in_the_cache(
    as_person: AsPerson, end: Callable[[Person], Response]
) -> None:
    person = as_person()
    assert person.get("/users/me").status_code == 200

    ended = end(person)

    assert ended.is_success
    assert person.get("/users/me").status_code == 401
