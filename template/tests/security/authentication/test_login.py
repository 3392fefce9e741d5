"""Logging in: one answer to everything that is not right, in the same time, and nobody can who was not created."""

from collections.abc import Iterator
from itertools import count
from typing import Any
from unittest.mock import create_autospec

import pytest
from passlib.context import CryptContext
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.core.tables import UNUSABLE_PASSWORD, Account
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, create_person, log_in


@pytest.fixture
def callers(make_client: MakeClient, client: TestClient) -> Iterator[TestClient]:
    """Clients of one app, each from an address of its own: guessing is slow for each of them."""
    return (make_client(client.app, address=f"127.50.{number // 200}.{number % 200 + 1}") for number in count())  # type: ignore[arg-type]


def seen(answer: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """All that a stranger sees of an answer, but for the id of the request and the seconds of its limit."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "ratelimit")}
    return answer.status_code, {**answer.json(), "instance": ""}, headers


def person_in_state(client: TestClient, name: str, **values: object) -> str:
    identity = create_person(client, name)

    async def change(db: AsyncSession) -> None:
        await db.execute(update(Account).where(Account.id == identity).values(**values))

    if values:
        Database(client).run(change)
    return name


def refused_for_certain(client: TestClient) -> tuple[int, dict[str, Any], dict[str, str]]:
    """What a wrong password of an existing person is answered."""
    person_in_state(client, "reference@example.com")
    answer = seen(log_in(client, "reference@example.com", "wrong"))
    assert answer[:2] == (400, answer[1])
    assert answer[1]["error"] == "invalid_grant"
    return answer


def test_every_failed_login_gets_the_response_for_an_unknown_name(
    client: TestClient, callers: Iterator[TestClient]
) -> None:
    reference = refused_for_certain(client)
    names = [
        person_in_state(client, "disabled@example.com", is_active=False),
        person_in_state(client, "invited@example.com", password_hash=UNUSABLE_PASSWORD),
        person_in_state(client, "imported@example.com", password_hash="$2b$12$hash-of-another-kind"),
        person_in_state(client, "service", kind="service", password_hash=None),
        "nobody@example.com",
    ]

    answers = {name: seen(log_in(next(callers), name)) for name in names}

    assert answers == dict.fromkeys(names, reference)


@pytest.mark.slow
def test_a_refused_login_hashes_once_whether_or_not_the_name_exists(
    client: TestClient, callers: Iterator[TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this, the time reveals who has an account (ASVS 5.0 V6.3.8)."""
    person_in_state(client, "known")
    person_in_state(client, "invited", password_hash=UNUSABLE_PASSWORD)
    verify = create_autospec(CryptContext.verify_and_update, side_effect=CryptContext.verify_and_update)
    monkeypatch.setattr(CryptContext, "verify_and_update", verify)

    assert [log_in(next(callers), name, "wrong").status_code for name in ("known", "invited", "nobody")] == [400] * 3
    assert verify.call_count == 4  # the hash of an invited person cannot be read: then it is done without one


@pytest.mark.slow
def test_a_fresh_service_has_no_account_to_log_in_to(
    client: TestClient, database: Database, callers: Iterator[TestClient]
) -> None:
    usual = [("admin", "admin"), ("admin", "password"), ("root", "root"), ("test", "test"), ("user", "changethis")]

    answers = [log_in(next(callers), name, password) for name, password in [*usual, ("admin@example.com", PASSWORD)]]

    assert database.rows("SELECT count(*) FROM accounts") == [(0,)]
    assert {answer.status_code for answer in answers} == {400}


@pytest.mark.slow
def test_the_response_to_a_login_follows_rfc_6749(client: TestClient) -> None:
    person_in_state(client, "alice@example.com")

    answer = log_in(client, "alice@example.com")

    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 600)
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
