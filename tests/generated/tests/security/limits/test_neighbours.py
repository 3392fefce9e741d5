"""Neighbours behind one address, and what an expired credential still counts as."""

import time

from tests.security.callers import AsCaller
from tests.security.limits.limited_routes import MakeLimited, limited
from tests.security.limits.test_limited_callers import same_address, with_credential_of
from tests.security.timing import at_once

__all__ = ["limited"]  # a fixture


def test_slow_requests_of_a_neighbour_leave_slots_for_a_known_caller(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited("1000/minute", MAX_IN_FLIGHT_OF_ONE_SOURCE="4")
    colleague = as_caller(client=client)
    assert colleague.get("/mine").status_code == 200
    noisy = same_address(client, colleague)

    def when_the_others_are_under_way() -> int:
        time.sleep(0.3)
        return colleague.get("/mine").status_code

    found = at_once([*[lambda: noisy.get("/slow").status_code] * 8, when_the_others_are_under_way])

    assert found[:-1].count(429) == 4
    assert found[-1] == 200


def test_an_expired_credential_uses_up_nothing_of_its_owner(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS="0.2")
    owner = as_caller(client=client)
    assert owner.get("/mine").status_code == 200
    time.sleep(0.3)  # it was revoked meanwhile, in another process
    thief = with_credential_of(client, owner)

    while thief.get("/nowhere").status_code != 429:  # a path where it is not verified
        pass

    assert owner.get("/mine").status_code == 200


def test_requests_at_once_from_many_addresses_count_for_their_account(
    limited: MakeLimited, as_caller: AsCaller
) -> None:
    client = limited("3/minute")
    owner = as_caller(client=client)
    addresses = [with_credential_of(client, owner) for _ in range(12)]

    found = at_once([lambda one=one: one.get("/mine").status_code for one in addresses])

    assert found.count(200) == 3
