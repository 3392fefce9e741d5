"""Callers are counted as accounts, and else as addresses; a noisy neighbour locks nobody out."""

import pytest
from starlette.testclient import TestClient

from tests.security.callers import AsCaller, CallerClient, client_from
from tests.security.fixtures import Database, MakeClient
from tests.security.limits.limited_routes import MakeLimited, limited

__all__ = ["limited"]  # a fixture

cached_or_not = pytest.mark.parametrize("seconds", ["5", "0"])


def same_address(client: TestClient, caller: CallerClient) -> CallerClient:
    """An unauthenticated client behind the address of this caller."""
    neighbour = client_from(client, CallerClient)
    neighbour._transport.client = caller._transport.client  # type: ignore[attr-defined]
    return neighbour


def with_credential_of(client: TestClient, caller: CallerClient) -> CallerClient:
    """The same credential from another address."""
    other = client_from(client, CallerClient)
    other.headers.update(caller.headers)
    return other


@pytest.mark.slow
def test_addresses_are_counted_apart_and_an_ipv6_customer_as_one(limited: MakeLimited, make_client: MakeClient) -> None:
    client = limited()

    def get(address: str) -> int:
        return make_client(client.app, address=address).get("/direct").status_code  # type: ignore[arg-type]

    assert [get("203.0.113.7") for _ in range(4)] == [200] * 3 + [429]
    assert get("203.0.113.8") == 200
    assert [get(f"2001:db8::{number}") for number in range(1, 6)] == [200] * 3 + [429] * 2
    assert get("2001:db8:0:1::1") == 200


@pytest.mark.slow
@cached_or_not
def test_a_noisy_neighbour_does_not_lock_out_a_known_caller(
    limited: MakeLimited, as_caller: AsCaller, seconds: str
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS=seconds)
    colleague, newcomer = as_caller(client=client), as_caller(client=client)
    assert colleague.get("/mine").status_code == 200
    noisy = same_address(client, colleague)
    newcomer._transport.client = noisy._transport.client  # type: ignore[attr-defined]
    while noisy.get("/direct").status_code != 429:
        pass

    assert [colleague.get("/mine").status_code for _ in range(3)] == [200] * 3
    assert newcomer.get("/mine").status_code == 429  # no credential of theirs was verified yet


@pytest.mark.slow
@cached_or_not
def test_one_account_from_many_addresses_is_one_caller(limited: MakeLimited, as_caller: AsCaller, seconds: str) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS=seconds)
    caller = as_caller(client=client)

    statuses = [with_credential_of(client, caller).get("/mine").status_code for _ in range(20)]

    assert statuses.count(200) == 5
    assert set(statuses) == {200, 429}


@pytest.mark.slow
def test_a_refused_credential_is_no_longer_counted_as_its_account(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS="0")
    caller = as_caller(client=client)
    assert caller.get("/mine").status_code == 200
    Database(client).rows("UPDATE accounts SET is_active = :no WHERE name = :name", no=False, name=caller.name)

    statuses = [caller.get("/mine").status_code for _ in range(8)]

    assert statuses.count(401) == 1 + 4  # one more as its account, then what is left of its address
