"""Refresh tokens: each serves once, what looks stolen ends the session, and every session ends some day (RFC 9700)."""

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from tests.security.authentication.test_refresh_tokens import alice, uncached, works  # noqa: F401
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import Person, log_in, log_in_quietly, refresh
from tests.security.timing import at_once, later


def test_an_older_generation_ends_the_session_too(alice: Person) -> None:
    first = alice.tokens["refresh_token"]
    second = refresh(alice, first).json()["refresh_token"]
    newest = refresh(alice, second).json()

    with later(seconds=11):
        assert refresh(alice, first).status_code == 400
        assert works(alice, newest) == (False, False)


def test_the_third_such_refresh_ends_the_session(alice: Person) -> None:
    used = alice.tokens["refresh_token"]
    newest = refresh(alice, used).json()

    again = [refresh(alice, used).status_code for _ in range(3)]

    assert again == [400, 400, 400]
    assert works(alice, newest) == (False, False)


@pytest.mark.parametrize(
    ("address", "agent"), [("127.77.0.1", "testclient"), (None, "another browser"), ("127.77.0.2", "a thief's")]
)
def test_a_used_token_from_another_place_ends_the_session_at_once(
    uncached: TestClient, make_client: MakeClient, alice: Person, address: str | None, agent: str
) -> None:
    used = alice.tokens["refresh_token"]
    newest = refresh(alice, used).json()
    elsewhere = make_client(uncached.app, address=address) if address else alice  # type: ignore[arg-type]
    elsewhere.headers["User-Agent"] = agent

    stolen = refresh(elsewhere, used)

    assert stolen.status_code == 400
    assert works(alice, newest) == (False, False)


def test_theft_ends_one_session_and_not_the_others(alice: Person) -> None:
    other = log_in(alice, alice.name).json()
    used = alice.tokens["refresh_token"]
    refresh(alice, used)

    alice.headers["User-Agent"] = "another browser"
    refresh(alice, used)

    assert works(alice, other) == (True, True)


@pytest.mark.parametrize("setting", ["SESSION_IDLE_DAYS", "SESSION_DAYS", "REFRESH_REUSE_LEEWAY_SECONDS"])
def test_a_session_cannot_be_set_to_live_for_ever(make_client: MakeClient, setting: str) -> None:
    with pytest.raises(SystemExit) as refused:
        make_client(**{setting: "61"})

    assert refused.value.code == 78


def test_a_disabled_person_refreshes_nothing(uncached: TestClient, alice: Person) -> None:
    async def disable(db: AsyncSession) -> None:
        await accounts.set_active(db, await accounts.by_name(db, alice.name), False)

    Database(uncached).run(disable)

    assert works(alice, alice.tokens) == (False, False)


def test_logins_that_end_the_oldest_sessions_let_them_be_refreshed_meanwhile(alice: Person) -> None:
    tokens = [log_in_quietly(alice)["refresh_token"] for _ in range(10)]

    def log_in_often() -> set[int]:
        for _ in range(9):
            log_in_quietly(alice)
        return set()

    def refresh_each() -> set[int]:
        return {refresh(alice, token).status_code for token in reversed(tokens)}

    statuses = at_once([log_in_often, refresh_each, refresh_each])

    assert set().union(*statuses) <= {200, 400}
