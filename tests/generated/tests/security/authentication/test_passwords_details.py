"""Passwords: any characters, long enough, not guessable, hashed slowly, and never in the way of other requests."""

import os
import time
import unicodedata
from collections.abc import Callable
from functools import partial

import argon2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.authentication import passwords
from app.security.compose import fastapi_options, secure
from tests.security.authentication.test_passwords import ALICE, TODAYS_COSTS, choose, hash_in
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, create_person, log_in
from tests.security.timing import at_once, seconds

ACCEPTED = {
    "words": "seven quiet lamps behind",
    "fifteen small letters": "qzvkwjmxhtfbpyd",
    "fifteen capitals": "QZVKWJMXHTFBPYD",
    "fifteen digits": "830516294710583",
    "signs alone": "~}^?|;<$@!%*(:>",
    "spaces around it": "  quiet lamps behind  ",
    "64 emoji": "".join(chr(0x1F600 + number * 37 % 80) for number in range(64)),
    "another script": "семь тихих ламп позади",
    "a NUL": "quiet\0lamps behind us",
    "line breaks": "quiet\r\nlamps behind us",
    "128 characters": "quiet lamps behind " * 6 + "and 14 letters",
    "a name and more than it": "alice counts purple walruses",
}


def test_any_long_and_unguessable_password_is_accepted_as_it_is(client: TestClient) -> None:
    for kind, password in ACCEPTED.items():
        assert (kind, *choose(client, password)) == (kind, 204, "")
        assert (kind, log_in(client, ALICE, password).status_code) == (kind, 200)


def test_the_name_of_the_service_is_no_password(make_client: MakeClient, environment: Callable[..., None]) -> None:
    app = FastAPI(title="Harbour Master", **fastapi_options())
    secure(app)
    client = make_client(app)

    assert choose(client, "!Harbour-Master-2026!")[0] == 422
    assert choose(client, "harbourmaster harbour")[0] == 422
    assert choose(client, "harbour master eats figs")[0] == 204


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("4901-5188-3627-4197", "4901-5188-3627-4197"),
        ("0049 171 5551234567", "00491715551234567"),
        ("49015188362741974", "49015188362741974!2026"),
        ("\uff4a\uff4f\uff41\uff4e\uff4e\uff41 \uff46\uff49\uff53\uff43\uff48\uff45\uff52", "!!Joanna Fischer!!"),
        ("zoe\u0308 lindqvist@example.com", "zo\u00eb lindqvist 12345"),
    ],
)
def test_a_name_is_no_password_in_any_spelling(client: TestClient, name: str, password: str) -> None:
    judge = partial(client.portal.call, client.app.state.passwords.check_strength)  # type: ignore[attr-defined, union-attr]

    with pytest.raises(passwords.WeakPassword):
        judge(password, name)

    judge("nine 4901 quiet lamps", name)


def test_a_name_made_of_repeats_does_not_make_judging_slow(client: TestClient) -> None:
    hasher = client.app.state.passwords  # type: ignore[attr-defined]
    judge = partial(client.portal.call, hasher.check_strength, "a" * 127 + "b", "aaa.aaaa.aaaaa@aaaaaa.aaaaaaa")  # type: ignore[union-attr]

    def refused() -> None:
        with pytest.raises(passwords.WeakPassword):
            judge()

    assert seconds(refused) < 2


def test_eight_characters_are_enough_only_where_asked_for(client: TestClient, make_client: MakeClient) -> None:
    assert choose(client, "qzvkwjmx")[0] == 422

    lenient = make_client(ALLOW_8_CHAR_PASSWORDS="true")

    assert choose(lenient, "qzvkwjmxh")[0] == 204
    assert choose(lenient, "qzvkwjm")[0] == 422
    assert choose(lenient, "password1")[0] == 422


def test_what_differs_in_its_last_character_is_different(client: TestClient) -> None:
    create_person(client, "alice", password="x" * 99 + "y")

    assert log_in(client, "alice", "x" * 99 + "z").status_code == 400
    assert log_in(client, "alice", "x" * 99).status_code == 400
    assert log_in(client, "alice", "x" * 99 + "y").status_code == 200


def test_what_is_far_too_long_is_never_cut(client: TestClient) -> None:
    password = "\u1f82" * 128
    create_person(client, "alice", password=password)
    apart = unicodedata.normalize("NFD", password)  # four code points each

    assert log_in(client, "alice", apart).status_code == 200
    assert log_in(client, "alice", f"{apart} and more").status_code == 400
    assert choose(client, f"{unicodedata.normalize('NFD', password)} and more")[0] == 422


def test_two_spellings_of_one_character_are_the_same_and_nothing_else_is(client: TestClient) -> None:
    create_person(client, "alice", password="caf\u00e9 with ﬁve lamps")

    assert log_in(client, "alice", "cafe\u0301 with ﬁve lamps").status_code == 200
    assert log_in(client, "alice", "caf\u00e9 with five lamps").status_code == 400
    assert log_in(client, "alice", "cafe with ﬁve lamps").status_code == 400


@pytest.mark.usefixtures("real_hashing")
@pytest.mark.parametrize(("memory", "iterations"), [(8192, 1), (19456, 1), (8192, 3), (65536, 2)])
def test_a_hash_of_other_costs_is_renewed_by_the_next_login(
    client: TestClient, database: Database, memory: int, iterations: int
) -> None:
    old = argon2.PasswordHasher(iterations, memory, parallelism=1).hash(PASSWORD)
    create_person(client, "alice")
    database.rows("UPDATE accounts SET password_hash = :old", old=old)

    assert log_in(client, "alice", "wrong").status_code == 400
    assert hash_in(database) == old
    assert log_in(client, "alice").status_code == 200
    assert hash_in(database).startswith(TODAYS_COSTS)
    assert log_in(client, "alice").status_code == 200


def test_a_hash_of_todays_costs_stays(client: TestClient, database: Database) -> None:
    create_person(client, "alice")
    before = hash_in(database)

    log_in(client, "alice")

    assert hash_in(database) == before


@pytest.mark.usefixtures("real_hashing")
def test_a_slow_hash_delays_no_other_request(make_client: MakeClient) -> None:
    client = make_client(ARGON2_ITERATIONS="60")
    alive = make_client(client.app)  # type: ignore[arg-type]
    waits: list[float] = []
    answers: list[int] = []

    def ask_until_answered() -> None:
        while not answers:
            waits.append(seconds(partial(alive.get, "/health/live")))
            time.sleep(0.002)

    def guess() -> None:
        answers.append(log_in(client, "nobody", "wrong").status_code)

    took = seconds(lambda: at_once([guess, ask_until_answered]))

    assert answers == [400]
    assert len(waits) > 10
    assert max(waits) < took / 2


@pytest.mark.usefixtures("real_hashing")
def test_what_waits_for_a_hash_is_bounded(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "QUEUE", 2)
    threads = os.cpu_count() or 1
    first = make_client(ARGON2_ITERATIONS="40")
    callers = [make_client(first.app, address=f"127.80.0.{number}") for number in range(1, threads + 2 + 6)]  # type: ignore[arg-type]

    answers = at_once(partial(log_in, caller, f"name{number}", "wrong") for number, caller in enumerate(callers))

    busy = [answer for answer in answers if answer.status_code == 503]
    assert 1 <= len(busy) <= 5
    assert {answer.headers["retry-after"] for answer in busy} == {"1"}
    assert {answer.status_code for answer in answers} == {400, 503}
    assert log_in(first, "nobody", "wrong").status_code == 400
