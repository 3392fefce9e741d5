"""What has outlived its use is removed, and nothing else: an attack can be looked into, and no counter is forgotten."""

import pytest
from starlette.testclient import TestClient

from app.security.administration import pruning
from tests.security.administration.test_pruning import (
    TABLES,
    left,
    lived_in,  # noqa: F401
    prune,
)
from tests.security.authentication.throttle_helpers import at, service
from tests.security.fixtures import Database
from tests.security.timing import later

__all__ = ["at", "service"]  # fixtures


def test_nothing_that_is_still_of_use_goes(lived_in: TestClient) -> None:
    before = left(lived_in)

    with later(days=29):
        assert prune(lived_in) == 0

    assert left(lived_in) == before
    assert min(before.values()) > 0


def test_an_ended_session_is_kept_for_thirty_days(lived_in: TestClient) -> None:
    Database(lived_in).rows("UPDATE sessions SET ended_at = created_at")
    with later(days=29):
        prune(lived_in)
        assert left(lived_in)["sessions"] == 1
    with later(days=31):
        prune(lived_in)
        assert left(lived_in)["sessions"] == 0


def test_a_hundred_failures_in_a_row_are_never_forgotten(lived_in: TestClient) -> None:
    Database(lived_in).rows("UPDATE throttle_buckets SET failures_in_a_row = 100, permanent = :yes", yes=True)
    before = left(lived_in)["throttle_buckets"]

    with later(days=400):
        prune(lived_in)

    assert left(lived_in)["throttle_buckets"] == before


def test_many_rows_go_part_by_part(lived_in: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 1)

    with later(days=61):
        prune(lived_in)

    assert left(lived_in) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize("dates", ["'2999-01-01', created_at", "created_at, NULL"], ids=["revoked", "expired"])
def test_a_key_that_ended_is_kept_for_thirty_days(lived_in: TestClient, dates: str) -> None:
    """Whoever issues and revokes keys all day must not fill the table."""
    key = f"""INSERT INTO api_keys (id, account_id, name, public_id, key_hash, last_four, scopes, created_at,
        expires_at, revoked_at) SELECT id, id, 'k', 'k', :hash, 'four', 's', created_at, {dates} FROM accounts"""  # noqa: S608
    Database(lived_in).rows(key, hash=b"\1" * 32)

    for days, number in ((29, 1), (31, 0)):
        with later(days=days):
            prune(lived_in)
            assert Database(lived_in).rows("SELECT count(*) FROM api_keys")[0][0] == number
