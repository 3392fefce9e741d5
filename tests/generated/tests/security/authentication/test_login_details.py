"""Logging in: one answer to everything that is not right, in the same time, and nobody can who was not created."""

import json
import re
import statistics
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.tables import UNUSABLE_PASSWORD
from tests.security.authentication.test_login import (
    callers,  # noqa: F401
    person_in_state,
    refused_for_certain,
    seen,
)
from tests.security.fixtures import Database
from tests.security.persons import PASSWORD, create_person, log_in
from tests.security.timing import seconds

ODD_PASSWORDS = {
    "wrong": "wrong staple 7 battery horse",
    "one character less": PASSWORD[:-1],
    "of another case": PASSWORD.upper(),
    "with a space after it": PASSWORD + " ",
    "with NUL after it": PASSWORD + "\0",
    "with more after it": PASSWORD + "x" * 100,
    "129 characters": "x" * 129,
    "5000 characters": "x" * 5000,
    "a NUL in it": "a\0b",
    "emoji": "🔑" * 20,
    "another script": "пароль" * 3,
    "a line break": "a\r\nb",
    "no character": "\u200b",
    "an expression": "' OR 1=1--",
}
ODD_NAMES = {
    "unknown": "nobody@example.com",
    "254 characters": "x" * 254,
    "255 characters": "x" * 255,
    "60000 characters": "x" * 60_000,
    "NUL": "ali\0ce",
    "a line break": "alice\r\nSet-Cookie: a=b",
    "another script": "алиса",
    "emoji": "🔑",
    "no character": "\u200b",
    "much longer when folded": "\ufdfa" * 250,
    "an expression": "' OR 1=1--",
    "a pattern": "%",
}


def test_an_invited_person_has_no_password_that_could_be_guessed(client: TestClient) -> None:
    person_in_state(client, "invited@example.com", password_hash=UNUSABLE_PASSWORD)

    for password in (UNUSABLE_PASSWORD, "", "None", "null"):
        assert log_in(client, "invited@example.com", password).status_code == 400


def test_every_odd_password_is_a_wrong_one(client: TestClient, callers: Iterator[TestClient]) -> None:
    reference = refused_for_certain(client)
    known = {kind: person_in_state(client, f"person{number}") for number, kind in enumerate(ODD_PASSWORDS)}

    of_known = {kind: seen(log_in(next(callers), known[kind], odd)) for kind, odd in ODD_PASSWORDS.items()}
    of_unknown = {kind: seen(log_in(next(callers), f"no{known[kind]}", odd)) for kind, odd in ODD_PASSWORDS.items()}

    assert of_known == of_unknown == dict.fromkeys(ODD_PASSWORDS, reference)


def test_a_malformed_name_is_treated_like_an_unknown_one(client: TestClient, callers: Iterator[TestClient]) -> None:
    reference = refused_for_certain(client)

    answers = {kind: seen(log_in(next(callers), name)) for kind, name in ODD_NAMES.items()}

    assert answers == dict.fromkeys(ODD_NAMES, reference)


def test_a_name_is_found_however_it_is_written(client: TestClient) -> None:
    person_in_state(client, "Strauß.Jürgen@example.com")

    for name in ("strauß.jürgen@example.com", "STRAUSS.JU\u0308RGEN@EXAMPLE.COM", " Strauß.Jürgen@example.com "):
        assert log_in(client, name).status_code == 200


@pytest.mark.usefixtures("real_hashing")
def test_a_refused_login_takes_as_long_for_an_unknown_name(client: TestClient, callers: Iterator[TestClient]) -> None:
    """Without this, the time tells who has an account (ASVS 5.0 V6.3.8)."""
    numbers = count()

    def medians() -> dict[str, float]:
        times: dict[str, list[float]] = {"known": [], "unknown": [], "invited": [], "disabled": []}
        for number in (next(numbers) for _ in range(12)):
            person_in_state(client, f"known{number}")
            person_in_state(client, f"invited{number}", password_hash=UNUSABLE_PASSWORD)
            person_in_state(client, f"disabled{number}", is_active=False)
            for state, measured in times.items():
                measured.append(seconds(partial(log_in, next(callers), f"{state}{number}", "wrong " * 4)))
        return {state: statistics.median(measured) for state, measured in times.items()}

    spreads = []
    for _ in range(8):  # a busy machine may spoil one measurement, but not each
        found = medians().values()
        spreads.append(max(found) / min(found))
        if spreads[-1] < 1.25:
            break

    assert min(spreads) < 1.25


def test_two_logins_are_two_sessions_with_tokens_of_their_own(client: TestClient, database: Database) -> None:
    person_in_state(client, "alice@example.com")

    tokens = [log_in(client, "alice@example.com").json()["refresh_token"] for _ in range(5)]

    assert len(set(tokens)) == 5
    assert all(re.fullmatch(r"rt_[0-9A-Za-z]{43}", token) for token in tokens)
    assert database.rows("SELECT count(DISTINCT id) FROM sessions") == [(5,)]


SLOW = "a" + "\u0344" * 16_000 + "\u0316" * 16_000  # to normalise it takes the square of its length


@pytest.mark.parametrize("field", ["username", "password"])
def test_a_text_that_is_slow_to_normalise_delays_no_other_request(client: TestClient, field: str) -> None:
    form = {"grant_type": "password", "username": "alice", "password": "x"} | {field: SLOW}
    body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert len(body) < 65_536

    assert seconds(lambda: client.post("/auth/token", content=body, headers=headers)) < 1


@pytest.mark.parametrize("name", ["disabled@example.com", "nobody@example.com"])
def test_every_failed_login_is_one_event(client: TestClient, recorded: list[dict[str, Any]], name: str) -> None:
    person_in_state(client, "disabled@example.com", is_active=False)

    log_in(client, name)

    assert [event["event"] for event in recorded].count("authn_login_fail") == 1


@pytest.mark.parametrize("space", ["\n", "\t", "\u2003", " "])
def test_failures_of_a_name_with_space_around_it_name_the_account(
    client: TestClient, recorded: list[dict[str, Any]], space: str
) -> None:
    """They count for that account, so an alert must find whom they lock out."""
    person = create_person(client, "carol@example.com")

    log_in(client, f"carol@example.com{space}", "wrong staple 7 battery horse")

    (failed,) = (event for event in recorded if event["event"] == "authn_login_fail")
    assert failed["subject"] == str(person)


def test_what_people_type_when_they_fail_is_in_no_event(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    name, password = "my password instead of my name", "my name instead of my password"
    log_in(client, name, password)

    written = json.dumps(recorded, default=str)

    assert "authn_login_fail" in written
    assert name not in written
    assert password not in written


def test_a_person_disabled_while_the_password_was_checked_is_not_let_in(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    person_in_state(client, "alice@example.com")
    hasher = client.app.state.passwords  # type: ignore[attr-defined]
    verify = hasher.verify

    async def verify_while_somebody_disables(password: str, stored: str | None) -> bool:
        async with client.app.state.database.begin() as db:  # type: ignore[attr-defined]
            await accounts.set_active(db, await accounts.by_name(db, "alice@example.com"), False)
        return bool(await verify(password, stored))

    monkeypatch.setattr(hasher, "verify", verify_while_somebody_disables)

    assert log_in(client, "alice@example.com").status_code == 400
