"""What has outlived its use is removed, and nothing else: an attack can be looked into, and no counter is forgotten."""

import time
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest
from starlette.testclient import TestClient

from app.security.administration import pruning
from tests.security.authentication.throttle_helpers import ALICE, From, at, guesses, service
from tests.security.fixtures import Database, MakeClient
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


@pytest.mark.slow
def test_everything_that_is_not_goes(lived_in: TestClient) -> None:
    with later(days=61):  # 30 days of a session, and 30 in which it can be looked at
        prune(lived_in)

    assert left(lived_in) == dict.fromkeys(TABLES, 0)


def test_a_running_service_does_it_by_itself_every_day(
    lived_in: TestClient, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = AsyncMock(wraps=pruning.prune)
    monkeypatch.setattr(pruning, "prune", work)
    monkeypatch.setattr(pruning, "FIRST_WITHIN_SECONDS", 1)
    monkeypatch.setattr(pruning, "EVERY", timedelta(seconds=0.01))

    with later(days=61):
        make_client(AUTH_CACHE_SECONDS="0")
        given_up = time.monotonic() + 10
        while work.await_count < 3 and time.monotonic() < given_up:
            time.sleep(0.01)

    assert work.await_count >= 3
    assert left(lived_in) == dict.fromkeys(TABLES, 0)
