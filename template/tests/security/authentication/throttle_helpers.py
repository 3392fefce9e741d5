"""A service whose login throttle is tested from several addresses; import `service` and `at` as fixtures."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient
from tests.security.persons import PASSWORD, Person, create_person, log_in

AsPerson = Callable[..., Person]
From = Callable[[str], TestClient]
ALICE = "alice@example.com"


@pytest.fixture
def service(make_client: MakeClient) -> TestClient:
    """A service that is also called from elsewhere, and has one person."""
    client = make_client(DEVELOPMENT_NETWORKS="2001:db8::/32, 203.0.113.0/24", AUTH_CACHE_SECONDS="0")
    create_person(client, ALICE)
    return client


@pytest.fixture
def at(service: TestClient, make_client: MakeClient) -> From:
    """A client at this address."""
    return lambda address: make_client(service.app, address=address)  # type: ignore[arg-type]


def guesses(client: TestClient, number: int, name: str = ALICE) -> list[int]:
    return [log_in(client, name, "wrong").status_code for _ in range(number)]


def spend(client: TestClient, number: int) -> list[int]:
    """Count against the source alone: activating counts like logging in, and hashes nothing."""
    made_up = {"token": "ot_made_up", "password": PASSWORD}
    return [client.post("/auth/activate", json=made_up).status_code for _ in range(number)]
