"""The audit log: its rows, the changes that fail with it, and what goes on without it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security import audit
from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    app_of_changes,
    change,
    client_of_changes,  # noqa: F401
    kept,
    kept_events,
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


def test_a_flood_of_failures_fills_half_of_the_bounded_memory(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 6)
    write(client)

    for path in [*["/failures"] * 9, *["/logins"] * 4]:
        client.post(path)
    write(client)

    assert "7 events are only here" in capsys.readouterr().out
    assert kept_events(client)[-6:] == [Event.AUTHZ_FAIL] * 3 + [Event.LOGIN_SUCCESS] * 3


def test_waiting_rows_are_written_when_the_service_ends(client: TestClient) -> None:
    with TestClient(app_of_changes(), base_url="http://localhost", client=("127.0.0.1", 1)) as ending:
        ending.post("/failures")

    assert Event.AUTHZ_FAIL in kept_events(client)
    assert kept_events(client)[-1] == Event.SHUTDOWN


def test_each_append_writes_a_checkpoint_to_stdout_and_no_row_of_it(client: TestClient, recorded: Recorded) -> None:
    change(client)
    change(client)

    checkpoints = [fields["subject"] for fields in recorded if fields["event"] == Event.AUDIT_CHECKPOINT]
    assert checkpoints == [f"{row.seq}:{row.hash.hex()}" for row in kept(client)]
    assert len(checkpoints) == 2
