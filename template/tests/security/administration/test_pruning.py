"""What has outlived its use is removed, and nothing else: an attack can be looked into, and no counter is forgotten."""

import pytest
from starlette.testclient import TestClient

from app.security.administration import pruning
from tests.security.authentication.throttle_helpers import ALICE, From, at, guesses, service
from tests.security.fixtures import Database
from tests.security.persons import log_in
from tests.security.timing import later

__all__ = ["at", "service"]  # fixtures

TABLES = ("sessions", "refresh_tokens", "one_time_tokens", "known_addresses", "throttle_buckets")
INVITATION = """INSERT INTO one_time_tokens (id, account_id, token_hash, created_at, expires_at)
    SELECT id, id, :hash, created_at, created_at FROM accounts"""


def prune(client: TestClient) -> int:
    assert client.portal is not None
    return client.portal.call(pruning.prune, client.app.state.database)  # type: ignore[attr-defined, no-any-return]


def left(client: TestClient) -> dict[str, int]:
    return {name: Database(client).rows(f"SELECT count(*) FROM {name}")[0][0] for name in TABLES}  # noqa: S608


@pytest.fixture
def lived_in(service: TestClient, at: From) -> TestClient:
    """Somebody has logged in, was invited, and was attacked."""
    log_in(at("203.0.113.1"), ALICE)
    guesses(at("203.0.113.2"), 2)
    Database(service).rows(INVITATION, hash=b"\1" * 32)
    return service


def test_everything_that_is_not_goes(lived_in: TestClient) -> None:
    with later(days=61):  # 30 days of a session, and 30 in which it can be looked at
        prune(lived_in)

    assert left(lived_in) == dict.fromkeys(TABLES, 0)
