"""Correct logins are no failures; a changed password ends its session's old tokens; an access token can be revoked."""

from functools import partial

from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.security.core.tables import RefreshToken, Session
from tests.security.administration.test_own_sessions import AsPerson, change
from tests.security.authentication.throttle_helpers import ALICE, From, at, service
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, create_person, log_in, refresh
from tests.security.timing import at_once, later

__all__ = ["at", "service"]  # fixtures


def test_collisions_of_two_tabs_count_only_between_refreshes(make_client: MakeClient, as_person: AsPerson) -> None:
    alice = as_person(client=make_client(AUTH_CACHE_SECONDS="0"))
    token = alice.tokens["refresh_token"]

    for hour in range(1, 6):
        with later(hours=hour):
            first, second = refresh(alice, token), refresh(alice, token)
        assert (first.status_code, second.status_code) == (200, 400)
        token = first.json()["refresh_token"]


def test_correct_logins_through_a_proxy_are_no_failures(make_client: MakeClient) -> None:
    """A proxy never becomes a known address, so each login counts with those from unknown sources."""
    proxy = make_client(TRUSTED_PROXIES="127.0.0.1")
    create_person(proxy, ALICE)
    for hour in range(3):
        with later(minutes=2 * hour):
            assert {log_in(proxy, ALICE).status_code for _ in range(10)} == {200}


def test_a_correct_login_forgives_no_failure_of_others(at: From) -> None:
    guesses = [log_in(at(f"203.0.113.{number}"), ALICE, "wrong").status_code for number in range(1, 20)]
    assert log_in(at("203.0.113.100"), ALICE).status_code == 200

    assert guesses == [400] * 19
    assert [log_in(at(f"203.0.113.{number}"), ALICE, "wrong").status_code for number in (30, 31)] == [400, 429]


def test_a_correct_current_password_is_no_failure(service: TestClient, as_person: AsPerson) -> None:
    bob = as_person(client=service)
    weak = {"current_password": PASSWORD, "new_password": "short"}

    assert [bob.post("/users/me/password", json=weak).status_code for _ in range(8)] == [422] * 8


def test_a_thief_who_uses_the_old_refresh_token_ends_the_session(make_client: MakeClient, as_person: AsPerson) -> None:
    client = make_client()
    alice = as_person(client=client)
    old, answer = alice.tokens["refresh_token"], change(alice)

    assert refresh(make_client(client.app, address="127.77.0.9"), old).status_code == 400  # type: ignore[arg-type]
    assert refresh(alice, answer.json()["refresh_token"]).status_code == 400


def test_after_a_refresh_and_a_change_at_once_one_refresh_token_is_left(
    client: TestClient, as_person: AsPerson
) -> None:
    for _ in range(8):
        alice = as_person()
        _, changed = at_once([partial(refresh, alice, alice.tokens["refresh_token"]), partial(change, alice)])
        own = select(func.count()).select_from(RefreshToken).join(Session).where(Session.account_id == alice.id)
        unused = own.where(RefreshToken.used_at.is_(None))

        assert changed.status_code == 200
        assert Database(client).run(lambda db, unused=unused: db.scalar(unused)) == 1  # type: ignore[misc]
        assert refresh(alice, changed.json()["refresh_token"]).status_code == 200


def test_a_forged_access_token_ends_nothing(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    head, claims, signature = alice.tokens["access_token"].split(".")

    assert client.post("/auth/revoke", data={"token": f"{head}.{claims}.{signature[::-1]}"}).status_code == 200
    assert alice.get("/users/me").status_code == 200
