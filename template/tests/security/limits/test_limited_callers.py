"""Who is counted as one: an account wherever it calls from, else an address; and nobody is shut out by a neighbour."""

import time

import pytest
from starlette.testclient import TestClient

from tests.security.callers import AsCaller, CallerClient, client_from
from tests.security.fixtures import Database, MakeClient
from tests.security.limits.limited import MakeLimited, limited
from tests.security.timing import at_once

__all__ = ["limited"]  # a fixture


def at(client: TestClient, make_client: MakeClient, address: str) -> TestClient:
    return make_client(client.app, address=address)  # type: ignore[arg-type]


def test_addresses_are_counted_apart(limited: MakeLimited, make_client: MakeClient) -> None:
    client = limited()
    for _ in range(5):
        client.get("/direct")

    assert at(client, make_client, "203.0.113.7").get("/direct").status_code == 200


def test_one_ipv6_customer_is_counted_as_one(limited: MakeLimited, make_client: MakeClient) -> None:
    client = limited()

    answers = [at(client, make_client, f"2001:db8::{number}").get("/direct").status_code for number in range(1, 6)]

    assert answers == [200] * 3 + [429] * 2
    assert at(client, make_client, "2001:db8:0:1::1").get("/direct").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X_Forwarded_For", "X-Real-IP", "Forwarded", "Client-IP"])
def test_what_a_stranger_says_of_their_address_changes_nothing(limited: MakeLimited, header: str) -> None:
    client = limited()

    answers = [client.get("/direct", headers={header: f"203.0.113.{number}"}).status_code for number in range(1, 6)]

    assert answers == [200] * 3 + [429] * 2


@pytest.mark.parametrize("seconds", ["5", "0"])
def test_a_noisy_neighbour_shuts_out_nobody_who_is_known(
    limited: MakeLimited, as_caller: AsCaller, seconds: str
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS=seconds)
    colleague = as_caller(client=client)
    assert colleague.get("/mine").status_code == 200
    noisy = client_from(client, CallerClient)
    colleague._transport.client = noisy._transport.client  # type: ignore[attr-defined]  # the same address
    while noisy.get("/direct").status_code != 429:
        pass

    assert [colleague.get("/mine").status_code for _ in range(3)] == [200] * 3


def test_half_sent_requests_of_a_neighbour_leave_room_for_who_is_known(
    limited: MakeLimited, as_caller: AsCaller
) -> None:
    client = limited("1000/minute", MAX_IN_FLIGHT_OF_ONE_SOURCE="4")
    colleague = as_caller(client=client)
    assert colleague.get("/mine").status_code == 200
    noisy = client_from(client, CallerClient)
    colleague._transport.client = noisy._transport.client  # type: ignore[attr-defined]  # the same address

    found = at_once([*[lambda: noisy.get("/slow").status_code] * 8, lambda: later_get(colleague)])

    assert found[:-1].count(429) == 4
    assert found[-1] == 200


def later_get(caller: TestClient) -> int:
    """Call when the others are under way."""
    time.sleep(0.3)
    return caller.get("/mine").status_code


def test_a_new_credential_behind_a_noisy_address_has_to_wait(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited()
    newcomer = as_caller(client=client)
    noisy = client_from(client, CallerClient)
    newcomer._transport.client = noisy._transport.client  # type: ignore[attr-defined]
    while noisy.get("/direct").status_code != 429:
        pass

    assert newcomer.get("/mine").status_code == 429


@pytest.mark.parametrize("seconds", ["5", "0"])
def test_one_account_from_many_addresses_is_one_account(
    limited: MakeLimited, as_caller: AsCaller, seconds: str
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS=seconds)
    caller = as_caller(client=client)
    answers = []
    for _ in range(50):
        elsewhere = client_from(client, CallerClient)
        elsewhere.headers.update(caller.headers)
        answers.append(elsewhere.get("/mine").status_code)

    assert answers.count(200) == 5
    assert set(answers) == {200, 429}


def test_whoever_holds_a_credential_that_ended_uses_up_nothing_of_its_owner(
    limited: MakeLimited, as_caller: AsCaller
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS="0.2")
    owner = as_caller(client=client)
    assert owner.get("/mine").status_code == 200
    time.sleep(0.3)  # it was ended meanwhile, in another process
    thief = client_from(client, CallerClient)
    thief.headers.update(owner.headers)

    while thief.get("/nowhere").status_code != 429:  # where nobody verifies it
        pass

    assert owner.get("/mine").status_code == 200


def test_a_refused_credential_is_no_longer_counted_as_its_account(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS="0")
    caller = as_caller(client=client)
    assert caller.get("/mine").status_code == 200
    disable(client, caller)

    answers = [caller.get("/mine").status_code for _ in range(8)]

    assert answers.count(401) == 1 + 4  # one more as its account, then what its address has left


def disable(client: TestClient, caller: CallerClient) -> None:
    Database(client).rows("UPDATE accounts SET is_active = :no WHERE name = :name", no=False, name=caller.name)
