"""Sessions: people see their own and end them, at once and for good; nothing of them lies in the database in clear."""

import re
from collections.abc import Callable
from datetime import datetime
from itertools import cycle

import pytest
from starlette.testclient import TestClient

from tests.security.authentication.test_sessions import AsPerson, alice, uncached, works  # noqa: F401
from tests.security.fixtures import Database
from tests.security.persons import PASSWORD, Person, log_in, refresh
from tests.security.timing import later, seconds

WAITING = 2  # seconds; who waits for a lock of their own waits for five


def test_sessions_that_were_idle_for_a_week_do_not_count(uncached: TestClient, as_person: AsPerson) -> None:
    with later(days=-8):
        alice = as_person(client=uncached)
        for _ in range(9):
            Database(uncached).rows("DELETE FROM throttle_buckets")
            log_in(alice, alice.name)
    with later(days=-2):
        kept = refresh(alice, alice.tokens["refresh_token"]).json()
    Database(uncached).rows("DELETE FROM throttle_buckets")

    log_in(alice, alice.name)

    refreshed = refresh(alice, kept["refresh_token"])
    assert refreshed.status_code == 200
    alice.headers["Authorization"] = f"Bearer {refreshed.json()['access_token']}"
    assert len(alice.get("/auth/sessions").json()) == 2


def test_people_see_their_sessions(as_person: AsPerson) -> None:
    alice, _ = as_person(), as_person()
    alice.headers["User-Agent"] = "browser " * 50
    alice.log_in()

    newest, first = alice.get("/auth/sessions").json()

    assert set(first) == {"id", "created_at", "last_used_at", "expires_at", "ip_prefix", "user_agent", "current"}
    assert (newest["current"], first["current"]) == (True, False)
    assert first["user_agent"] == "testclient"
    assert newest["user_agent"] == ("browser " * 50)[:200]
    assert re.fullmatch(r"127\.\d+\.\d+\.\d+/32", first["ip_prefix"])
    assert (datetime.fromisoformat(first["expires_at"]) - datetime.fromisoformat(first["created_at"])).days == 30


def test_people_end_one_of_their_sessions(alice: Person) -> None:
    other = log_in(alice, alice.name).json()
    (session,) = [session["id"] for session in alice.get("/auth/sessions").json() if not session["current"]]

    assert alice.delete(f"/auth/sessions/{session}").status_code == 204

    assert works(alice, other) == (False, False)
    assert works(alice, alice.tokens) == (True, True)
    assert alice.delete(f"/auth/sessions/{session}").status_code == 404


def test_people_end_all_of_their_sessions(as_person: AsPerson) -> None:
    alice, bob = as_person(), as_person()
    other = log_in(alice, alice.name).json()

    assert alice.delete("/auth/sessions").status_code == 204

    assert works(alice, alice.tokens) == works(alice, other) == (False, False)
    assert works(bob, bob.tokens) == (True, True)


@pytest.mark.parametrize("used", [False, True])
def test_revoking_a_refresh_token_ends_its_session(client: TestClient, as_person: AsPerson, used: bool) -> None:
    alice = as_person()
    token = alice.tokens["refresh_token"]
    newest = refresh(alice, token).json() if used else alice.tokens

    answer = client.post("/auth/revoke", data={"token": token, "token_type_hint": "refresh_token"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert works(alice, newest) == (False, False)


def test_revoking_anything_else_is_answered_alike_and_ends_nothing(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()

    for token in ("rt_" + "a" * 43, "x", "\0", "ü", "🔑" * 1000, str(alice.id)):
        answer = client.post("/auth/revoke", data={"token": token})
        assert (answer.status_code, answer.content) == (200, b"")

    assert client.post("/auth/revoke", data={}).status_code == 400
    assert client.post("/auth/revoke", json={"token": alice.tokens["refresh_token"]}).status_code == 415
    assert works(alice, alice.tokens) == (True, True)


def test_the_document_describes_the_empty_response_to_a_revocation(client: TestClient) -> None:
    answers = client.get("/openapi.json").json()["paths"]["/auth/revoke"]["post"]["responses"]

    assert "content" not in answers["200"]
    assert answers["default"]["content"]


def test_nothing_waits_for_a_second_transaction_of_its_own(alice: Person) -> None:
    """On SQLite a request that begins another transaction while its first is open waits for seconds."""
    passwords = cycle([PASSWORD, "seven quiet lamps behind"])
    current = next(passwords)
    used = [log_in(alice, alice.name).json()["refresh_token"] for _ in range(3)]
    assert [refresh(alice, token).status_code for token in used] == [200] * 3

    def hash_only() -> None:
        hasher, call = alice.app.state.passwords, alice.portal.call  # type: ignore[attr-defined, union-attr]
        call(hasher.verify, PASSWORD, None)
        call(hasher.check_strength, "seven quiet lamps behind", alice.name)
        call(hasher.hash, "seven quiet lamps behind")

    def change_password() -> None:
        nonlocal current
        change = {"current_password": current, "new_password": (current := next(passwords))}
        alice.use(alice.post("/users/me/password", json=change).json())

    def reuse() -> None:
        alice.headers["User-Agent"] = "another browser"
        refresh(alice, used.pop())

    hashing = fastest(hash_only)

    assert fastest(reuse) < WAITING
    assert fastest(lambda: log_in(alice, alice.name, "wrong")) < hashing + WAITING
    assert fastest(change_password) < hashing + WAITING


def fastest(work: Callable[[], object]) -> float:
    return min(seconds(work) for _ in range(3))
