"""Guessing is slow for everyone and on every name, and who logs in from a known address is not locked out by it."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.authentication.throttle_helpers import ALICE, From, at, guesses, service
from tests.security.fixtures import Database
from tests.security.persons import log_in
from tests.security.timing import later

__all__ = ["at", "service"]  # fixtures

# One source, over all accounts


@pytest.mark.slow
def test_one_address_has_ten_logins_a_minute_even_right_ones(service: TestClient, at: From) -> None:
    guesser = at("203.0.113.1")
    tried = [log_in(guesser, f"name{number}", "wrong").status_code for number in range(10)]

    eleventh = log_in(guesser, ALICE)

    assert tried == [400] * 10
    assert eleventh.status_code == 429
    assert 1 <= int(eleventh.headers["retry-after"]) <= 60
    assert log_in(at("203.0.113.2"), ALICE).status_code == 200
    with later(seconds=int(eleventh.headers["retry-after"]) + 1):
        assert log_in(guesser, ALICE).status_code == 200


# One account


def test_five_failures_lock_a_source_out_without_enumerating_accounts(at: From) -> None:
    known, unknown = at("203.0.113.1"), at("203.0.113.2")

    of_known = [log_in(known, ALICE, "wrong") for _ in range(6)]
    of_unknown = [log_in(unknown, "nobody@example.com", "wrong") for _ in range(6)]

    assert [answer.status_code for answer in of_known] == [400] * 5 + [429]
    assert [stranger_sees(answer) for answer in of_known] == [stranger_sees(answer) for answer in of_unknown]
    assert log_in(known, ALICE).status_code == 429  # the right password too, or the wait would be no wait
    with later(minutes=15, seconds=1):
        assert log_in(known, ALICE).status_code == 200


def stranger_sees(answer: Any) -> object:
    wait = int(answer.headers.get("retry-after", 0))
    return answer.status_code, {**answer.json(), "instance": ""}, -(-wait // 60)


@pytest.mark.slow
def test_a_distributed_attack_ends_at_twenty_failures_and_the_owner_still_logs_in(at: From) -> None:
    home = at("203.0.113.200")
    log_in(home, ALICE)

    attack = [log_in(at(f"203.0.113.{number}"), ALICE, "wrong").status_code for number in range(1, 51)]

    assert attack == [400] * 20 + [429] * 30  # the correct login before it is no failure
    assert log_in(at("203.0.113.201"), ALICE).status_code == 429
    assert log_in(home, ALICE).status_code == 200
    with later(hours=1, seconds=1):
        assert log_in(at("203.0.113.201"), ALICE).status_code == 200


@pytest.mark.slow
def test_after_a_hundred_failures_in_a_row_one_try_an_hour_is_left(service: TestClient, at: From) -> None:
    home = at("203.0.113.200")
    log_in(home, ALICE)
    assert guesses(home, 1) == [400]
    Database(service).rows("UPDATE throttle_buckets SET failures_in_a_row = 99 WHERE failures_in_a_row > 0")

    assert guesses(home, 2) == [400, 429]
    for hours in (2, 4):
        with later(hours=hours):
            assert guesses(home, 2) == [400, 429]
    with later(hours=6):
        assert log_in(home, ALICE).status_code == 200
        assert guesses(home, 2) == [400, 400]


@pytest.mark.slow
def test_a_hundred_failures_of_others_do_not_lock_out_a_known_address(service: TestClient, at: From) -> None:
    home, elsewhere = at("203.0.113.200"), at("203.0.113.1")
    log_in(home, ALICE)
    guesses(elsewhere, 1)
    Database(service).rows("UPDATE throttle_buckets SET failures_in_a_row = 100 WHERE failures_in_a_row > 0")

    assert guesses(elsewhere, 1) == [429]
    assert log_in(home, ALICE).status_code == 200
