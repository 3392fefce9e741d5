"""One's own account: looking at it, and changing the password."""

import json
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.core.events import Event
from app.security.core.tables import Account, ApiKey, utc_now
from tests.security.administration.test_users import NEW, AsPerson, change, names
from tests.security.fixtures import Database
from tests.security.persons import PASSWORD, hash_of, log_in, refresh
from tests.security.timing import at_once


def test_a_person_reads_their_own_account_alone(as_person: AsPerson) -> None:
    alice = as_person()

    assert alice.get("/users/me").json() == {"id": str(alice.id), "name": alice.name, "roles": []}


def test_this_session_goes_on_with_the_token_in_the_answer(as_person: AsPerson) -> None:
    alice = as_person()

    answer = change(alice)

    assert alice.get("/users/me").status_code == 401
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 600)
    alice.use(answer.json())
    assert alice.get("/users/me").status_code == 200
    assert refresh(alice, answer.json()["refresh_token"]).status_code == 200


def test_the_other_sessions_are_kept_on_request(as_person: AsPerson) -> None:
    alice = as_person()
    other = log_in(alice, alice.name).json()

    change(alice, keep_other_sessions=True)

    assert alice.get("/users/me", headers={"Authorization": f"Bearer {other['access_token']}"}).status_code == 401
    assert refresh(alice, other["refresh_token"]).status_code == 200


def test_a_weak_new_password_changes_nothing(as_person: AsPerson) -> None:
    alice = as_person()

    for weak in ("short", "passwordpassword1", alice.name, "x" * 4097):
        assert change(alice, new=weak).status_code == 422

    assert alice.get("/users/me").status_code == 200
    assert log_in(alice, alice.name, PASSWORD).status_code == 200


def test_a_change_is_one_event_without_a_secret(as_person: AsPerson, recorded: list[dict[str, Any]]) -> None:
    alice = as_person()
    recorded.clear()

    change(alice)

    written = json.dumps(recorded, default=str)
    secrets = [PASSWORD, NEW, "argon2", alice.tokens["access_token"], alice.tokens["refresh_token"]]
    assert names(recorded).count("authn_password_change") == 1
    assert [secret for secret in secrets if secret in written] == []


@pytest.mark.parametrize(
    "body",
    [
        {"current_password": PASSWORD, "new_password": NEW, "name": "root"},
        {"current_password": PASSWORD, "new_password": NEW, "keep_other_sessions": "yes"},
        {"current_password": PASSWORD, "new_password": [NEW]},
        {"new_password": NEW},
    ],
)
def test_a_change_of_another_shape_is_refused_and_echoes_nothing(as_person: AsPerson, body: dict[str, object]) -> None:
    answer = as_person().post("/users/me/password", json=body)

    assert answer.status_code == 422
    assert PASSWORD not in answer.text
    assert NEW not in answer.text


def test_of_two_changes_at_once_one_holds(as_person: AsPerson) -> None:
    alice = as_person()
    wanted = [NEW, "nine loud ravens above"]

    answers = at_once(partial(change, alice, new=new) for new in wanted)

    statuses = [answer.status_code for answer in answers]
    works = [log_in(alice, alice.name, new).status_code == 200 for new in wanted]
    assert sorted(statuses) in ([200, 400], [200, 401], [200, 409])
    assert works == [status == 200 for status in statuses]


def test_a_login_that_is_under_way_when_the_password_changes_fails(
    as_person: AsPerson, monkeypatch: pytest.MonkeyPatch, recorded: list[dict[str, Any]]
) -> None:
    alice, new = as_person(), hash_of(NEW)
    state = alice.app.state  # type: ignore[attr-defined]
    verify = state.passwords.verify

    async def changed_meanwhile(password: str, stored: str | None) -> str | None:
        verified: str | None = await verify(password, stored)
        async with state.database.begin() as db:
            await db.execute(update(Account).where(Account.id == alice.id).values(password_hash=new))
        return verified

    monkeypatch.setattr(state.passwords, "verify", changed_meanwhile)

    assert log_in(alice, alice.name).status_code == 400
    failed = [row["subject"] for row in recorded if row["event"] == Event.LOGIN_FAIL]
    assert failed == [str(alice.id)]


def test_keys_from_before_keys_were_left_out_end_with_the_old_password(
    as_person: AsPerson, recorded: list[dict[str, Any]]
) -> None:
    alice, key = as_person(), uuid4()

    async def leave_a_key(db: AsyncSession) -> None:
        row = ApiKey(id=key, account_id=alice.id, name="old", public_id="old", key_hash=b"", last_four="", scopes="")
        row.expires_at = utc_now() + timedelta(days=1)
        db.add(row)

    Database(alice).run(leave_a_key)

    change(alice)

    assert Database(alice).rows("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL") == [(0,)]
    found = [event for event in recorded if event["event"] == Event.KEY_REVOKED]
    assert [(event["actor"], event["subject"]) for event in found] == [(str(alice.id), str(key))]
