"""Refresh tokens: each serves once, what looks stolen ends the session, and every session ends some day (RFC 9700)."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient
from tests.security.persons import Person, refresh
from tests.security.timing import at_once, later

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
def test_a_refresh_gives_new_tokens_and_the_same_session(alice: Person) -> None:
    answer = refresh(alice, alice.tokens["refresh_token"])

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"rt_[0-9A-Za-z]{43}", answer.json()["refresh_token"])
    assert answer.json()["refresh_token"] != alice.tokens["refresh_token"]
    assert len(alice.get("/auth/sessions").json()) == 1
    assert works(alice, answer.json()) == (True, True)


@pytest.mark.slow
def test_of_twenty_refreshes_at_once_with_one_token_one_succeeds(alice: Person) -> None:
    answers = at_once([partial(refresh, alice, alice.tokens["refresh_token"])] * 20)

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 19


def test_a_used_token_that_comes_again_ends_the_session(alice: Person, recorded: list[dict[str, Any]]) -> None:
    used = alice.tokens["refresh_token"]
    newest = refresh(alice, used).json()

    with later(seconds=11):
        reused = refresh(alice, used)

        assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
        assert works(alice, newest) == (False, False)
    assert [event["reason"] for event in recorded if event["event"] == "authn_token_reuse"] == ["session_ended"]


@pytest.mark.slow
def test_two_tabs_that_refresh_at_once_are_no_theft(alice: Person, recorded: list[dict[str, Any]]) -> None:
    used = alice.tokens["refresh_token"]
    newest = refresh(alice, used).json()

    again = [refresh(alice, used).status_code for _ in range(2)]

    assert again == [400, 400]  # nobody gets a second token for one
    assert works(alice, newest) == (True, True)
    assert [event["reason"] for event in recorded if event["event"] == "authn_token_reuse"] == ["leeway", "leeway"]


@pytest.mark.slow
def test_a_session_ends_after_seven_idle_days(uncached: TestClient, as_person: AsPerson) -> None:
    just_in_time, too_late = as_person(client=uncached), as_person(client=uncached)

    with later(days=7, minutes=-1):
        assert refresh(just_in_time, just_in_time.tokens["refresh_token"]).status_code == 200
    with later(days=7, seconds=1):
        assert refresh(too_late, too_late.tokens["refresh_token"]).status_code == 400


@pytest.mark.slow
def test_a_session_ends_after_thirty_days_however_busy(alice: Person) -> None:
    token = alice.tokens["refresh_token"]
    for day in (6, 12, 18, 24, 29.99):
        with later(days=day):
            token = refresh(alice, token).json()["refresh_token"]

    with later(days=30, seconds=1):
        assert refresh(alice, token).status_code == 400
