"""Guessing is slow for everyone and on every name, and who logs in from a known address is not locked out by it."""

from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Any

from starlette.testclient import TestClient

from tests.security.authentication.throttle_helpers import ALICE, AsPerson, From, at, guesses, service, spend
from tests.security.fixtures import BASE_ENVIRONMENT, MakeClient
from tests.security.persons import PASSWORD, create_person, log_in, refresh
from tests.security.timing import at_once, later

__all__ = ["at", "service"]  # fixtures

ROTATED = {"SECRET_KEY": token_hex(64), "SECRET_KEY_FALLBACKS": BASE_ENVIRONMENT["SECRET_KEY"]}

# One source, over all accounts


def test_successes_count_too(at: From) -> None:
    known = at("203.0.113.1")

    assert [log_in(known, ALICE).status_code for _ in range(11)] == [200] * 10 + [429]


def test_one_address_has_a_hundred_logins_an_hour(at: From) -> None:
    patient = at("203.0.113.1")
    for minute in range(10):
        with later(minutes=2 * minute):
            assert spend(patient, 10) == [400] * 10

    with later(minutes=30):
        assert spend(patient, 1) == [429]
    with later(minutes=62):
        assert spend(patient, 1) == [400]


def test_an_address_is_a_64_in_ipv6_and_a_48_has_four_times_as_much(at: From) -> None:
    assert spend(at("2001:db8:1:1::1"), 10) == [400] * 10
    assert spend(at("2001:db8:1:1:ffff::2"), 1) == [429]
    assert [spend(at(f"2001:db8:1:{subnet}::1"), 10) for subnet in (2, 3, 4)] == [[400] * 10] * 3

    assert spend(at("2001:db8:1:5::1"), 1) == [429]
    assert spend(at("2001:db8:2:1::1"), 1) == [400]


def test_one_address_has_thirty_refreshes_a_minute(at: From) -> None:
    client = at("203.0.113.1")

    assert [refresh(client, "rt_made_up").status_code for _ in range(31)] == [400] * 30 + [429]
    assert client.post("/auth/revoke", data={"token": "rt_made_up"}).status_code == 429
    assert log_in(client, ALICE).status_code == 200


def test_one_address_has_ten_changes_of_password_a_minute(service: TestClient, as_person: AsPerson) -> None:
    bob = as_person(client=service)
    weak = {"current_password": PASSWORD, "new_password": "short"}

    assert [bob.post("/users/me/password", json=weak).status_code for _ in range(11)] == [422] * 10 + [429]


def test_a_wrong_current_password_counts_like_a_login(service: TestClient, as_person: AsPerson) -> None:
    bob = as_person(client=service)
    wrong = {"current_password": "wrong", "new_password": "seven quiet lamps behind"}

    assert [bob.post("/users/me/password", json=wrong).status_code for _ in range(6)] == [400] * 5 + [429]
    assert log_in(bob, bob.name).status_code == 429


# One account


def test_other_spellings_of_a_name_are_no_way_around(at: From) -> None:
    client = at("203.0.113.1")
    spellings = [
        "ALICE@example.com",
        "alice@EXAMPLE.com",
        " alice@example.com ",
        "\uff41lice@example.com",
        "Alice@example.com",
    ]

    assert [log_in(client, spelling, "wrong").status_code for spelling in spellings] == [400] * 5
    assert log_in(client, ALICE, "wrong").status_code == 429


def test_a_success_forgets_the_failures_before_it(at: From) -> None:
    client = at("203.0.113.1")

    assert guesses(client, 4) == [400] * 4
    assert log_in(client, ALICE).status_code == 200
    with later(seconds=61):
        assert guesses(client, 5) == [400] * 5


def test_an_unknown_name_stops_at_twenty_too(at: From) -> None:
    attack = [log_in(at(f"203.0.113.{number}"), "nobody", "wrong").status_code for number in range(1, 23)]

    assert attack == [400] * 20 + [429] * 2


def test_guesses_at_once_overrun_nothing(at: From) -> None:
    attackers = [at(f"203.0.113.{number}") for number in range(1, 31)]

    answers = at_once(partial(log_in, attacker, ALICE, "wrong") for attacker in attackers)

    assert sorted(answer.status_code for answer in answers) == [400] * 20 + [429] * 10


def test_an_address_is_known_for_thirty_days(at: From) -> None:
    home = at("203.0.113.200")
    log_in(home, ALICE)

    for days, expected in ((29, 200), (29 + 31, 429)):
        with later(days=days):
            for number in range(1, 21):
                log_in(at(f"203.0.113.{number}"), ALICE, "wrong")
            assert log_in(home, ALICE).status_code == expected


def test_the_rotation_of_the_secret_begins_no_count_anew(at: From, environment: Callable[..., None]) -> None:
    guesser = at("203.0.113.1")
    assert guesses(guesser, 5) == [400] * 5

    environment(**ROTATED)
    assert guesses(guesser, 1) == [429]
    with later(minutes=16):
        assert guesses(guesser, 6) == [400] * 5 + [429]
        environment(SECRET_KEY_FALLBACKS="")
        assert guesses(guesser, 1) == [429]


def test_a_known_address_stays_known_while_the_secret_is_rotated(at: From, environment: Callable[..., None]) -> None:
    home = at("203.0.113.200")
    log_in(home, ALICE)

    environment(**ROTATED)
    for number in range(1, 21):
        log_in(at(f"203.0.113.{number}"), ALICE, "wrong")

    assert log_in(at("203.0.113.201"), ALICE).status_code == 429
    assert log_in(home, ALICE).status_code == 200
    environment(SECRET_KEY_FALLBACKS="")
    assert log_in(home, ALICE).status_code == 200


def test_a_proxy_is_never_a_known_address(make_client: MakeClient) -> None:
    proxy = make_client(TRUSTED_PROXIES="127.0.0.1")
    create_person(proxy, ALICE)
    through = [{"X-Forwarded-For": f"127.9.0.{number}"} for number in range(1, 21)]
    assert log_in(proxy, ALICE).status_code == 200

    for forwarded in through:
        proxy.headers.update(forwarded)
        log_in(proxy, ALICE, "wrong")
    del proxy.headers["X-Forwarded-For"]

    assert log_in(proxy, ALICE).status_code == 429


def test_a_refused_login_is_recorded_as_a_lock(at: From, recorded: list[dict[str, Any]]) -> None:
    guesses(at("203.0.113.1"), 6)

    assert [event["event"] for event in recorded if event["event"] != "request"][-1] == "authn_login_lock"


def test_a_refused_source_that_invents_names_is_recorded_once(at: From, recorded: list[dict[str, Any]]) -> None:
    source = at("203.0.113.1")
    spend(source, 10)

    assert {log_in(source, f"invented-{number}@example.com").status_code for number in range(5)} == {429}
    assert log_in(source, ALICE).status_code == 429

    locks = [event for event in recorded if event["event"] == "authn_login_lock"]
    assert ["subject" in event for event in locks] == [False, True]
