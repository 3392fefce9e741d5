"""Sessions: people see their own and end them, at once and for good; nothing of them lies in the database in clear."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.database import Base
from app.security.access import accounts
from app.security.administration import self_service
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, log_in, refresh
from tests.security.timing import later

AsPerson = Callable[..., Person]


@pytest.fixture
def uncached(make_client: MakeClient) -> TestClient:
    """For tests that travel in time, which the cache of credentials does not notice."""
    return make_client(AUTH_CACHE_SECONDS="0")


@pytest.fixture
def alice(uncached: TestClient, as_person: AsPerson) -> Person:
    return as_person(client=uncached)


def works(person: Person, tokens: dict[str, Any]) -> tuple[bool, bool]:
    """Whether this access token and this refresh token still do; the refresh token is used up by asking."""
    answer = person.get("/users/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    return answer.status_code == 200, refresh(person, tokens["refresh_token"]).status_code == 200


@pytest.mark.slow
def test_an_access_token_ends_after_ten_minutes(alice: Person) -> None:
    with later(minutes=10, seconds=-1):
        assert alice.get("/users/me").status_code == 200
    with later(minutes=10, seconds=11):
        assert alice.get("/users/me").status_code == 401


def test_the_log_names_who_logged_in_what_a_session_did_and_who_uses_it_once_it_has_ended(
    alice: Person, recorded: list[dict[str, Any]]
) -> None:
    alice.log_in()
    alice.get("/users/me")
    alice.post("/auth/logout")
    alice.get("/users/me")

    (logged_in,) = [fields for fields in recorded if fields["event"] == "authn_login_success"]
    _, used, ended, refused = [fields for fields in recorded if fields["event"] == "request"]
    assert [fields["actor"] for fields in (logged_in, used, refused)] == [str(alice.id)] * 3
    assert used["credential"] == ended["credential"] == refused["credential"]
    assert (refused["status"], refused["reason"]) == (401, "session_ended")


@pytest.mark.slow
def test_the_eleventh_login_ends_the_first_at_once(
    client: TestClient, make_client: MakeClient, as_person: AsPerson
) -> None:
    alice = as_person()
    second = log_in(alice, alice.name).json()
    assert alice.get("/users/me").status_code == 200

    for number in range(9):
        log_in(make_client(client.app, address=f"127.60.0.{number + 1}"), alice.name)  # type: ignore[arg-type]

    assert works(alice, alice.tokens) == (False, False)
    assert works(alice, second) == (True, True)


@pytest.mark.slow
def test_another_persons_session_is_like_none_at_all(as_person: AsPerson, recorded: list[dict[str, Any]]) -> None:
    alice, bob = as_person(), as_person()
    (session,) = [session["id"] for session in alice.get("/auth/sessions").json()]

    foreign = bob.delete(f"/auth/sessions/{session}")
    none = bob.delete("/auth/sessions/00000000-0000-4000-8000-000000000000")

    assert foreign.status_code == none.status_code == 404
    assert {**foreign.json(), "instance": ""} == {**none.json(), "instance": ""}
    assert works(alice, alice.tokens) == (True, True)
    assert "session_ended" not in [event["event"] for event in recorded]


def test_logging_out_ends_this_session_alone(as_person: AsPerson) -> None:
    alice = as_person()
    other = log_in(alice, alice.name).json()

    assert alice.post("/auth/logout").status_code == 204

    assert works(alice, alice.tokens) == (False, False)
    assert works(alice, other) == (True, True)


def test_the_database_holds_no_credential_in_clear(client: TestClient, database: Database, as_person: AsPerson) -> None:
    alice = as_person()
    newest = refresh(alice, alice.tokens["refresh_token"]).json()

    async def invite(db: AsyncSession) -> str:
        return await self_service.invite(db, await accounts.by_name(db, alice.name))

    async def dump(db: AsyncSession) -> str:
        return "".join([repr((await db.execute(select(table))).all()) for table in Base.metadata.sorted_tables])

    secrets = [tokens[kind] for tokens in (alice.tokens, newest) for kind in ("access_token", "refresh_token")]
    secrets += [database.run(invite), PASSWORD]
    text = database.run(dump)

    assert alice.name in text
    assert [secret for secret in secrets if secret in text] == []
