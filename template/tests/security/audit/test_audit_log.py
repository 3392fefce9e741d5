"""The audit log: its rows, the changes that fail with it, and what goes on without it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    change,
    client_of_changes,  # noqa: F401
    kept,
    write,
)
from tests.security.fixtures import Database

Recorded = list[dict[str, Any]]


@pytest.fixture
def unavailable(client: TestClient) -> Iterator[TestClient]:
    """Calls an app whose audit log cannot be written."""
    write(client)
    Database(client).rows("ALTER TABLE audit_events RENAME TO elsewhere")
    yield client
    Database(client).rows("ALTER TABLE elsewhere RENAME TO audit_events")


def accounts(client: TestClient) -> int:
    return int(Database(client).rows("SELECT count(*) FROM accounts")[0][0])


def test_a_change_is_kept_with_its_actor_and_origin(client: TestClient) -> None:
    response = client.post("/changes", headers={"X-Request-ID": "0a1b2c3d-4e5f", "User-Agent": "x\0y" * 100})

    (row,) = kept(client)
    assert (row.seq, row.event, row.outcome, row.actor) == (1, Event.USER_CREATED, "success", "anonymous")
    assert (row.method, row.route, row.client_ip) == ("POST", "/changes", "127.0.0.1")
    assert (row.request_id, row.client_request_id) == (response.headers["x-request-id"], "0a1b2c3d-4e5f")
    assert row.user_agent == ("x\N{REPLACEMENT CHARACTER}y" * 100)[:200]
    assert abs(datetime.now(UTC) - row.at) < timedelta(seconds=10)


@pytest.mark.slow
def test_a_change_that_is_rolled_back_leaves_no_row_and_no_gap(client: TestClient) -> None:
    assert [change(client, fail=fail) for fail in (False, True, False)] == [200, 409, 200]

    assert [row.seq for row in kept(client)] == [1, 2]


def test_a_change_that_cannot_be_recorded_is_not_made_but_a_login_is(
    unavailable: TestClient, recorded: Recorded
) -> None:
    before = accounts(unavailable)

    assert change(unavailable) == 503
    assert accounts(unavailable) == before
    assert unavailable.post("/logins").status_code == 200
    assert unavailable.post("/failures").status_code == 200
    assert accounts(unavailable) == before + 1
    assert {"authn_login_success", "authz_fail"} <= {fields["event"] for fields in recorded}
