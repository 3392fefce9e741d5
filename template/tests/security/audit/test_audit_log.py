"""What is kept in the audit log, what fails with it, and what goes on without it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.audit import audit_log, audit_writer
from app.security.audit.audit_marks import Mark
from app.security.core.events import Event
from app.security.core.settings import ROOT
from tests.security.audit.audit_helpers import (
    app_of_changes,
    change,
    client_of_changes,  # noqa: F401
    kept,
    kept_events,
    tamper,
    written,
)
from tests.security.fixtures import Database, MakeClient
from tests.security.terminal import Manage

PRIVILEGED = {
    Event.PASSWORD_CHANGE,
    Event.INVITATION_CREATED,
    Event.INVITATION_USED,
    Event.KEY_CREATED,
    Event.KEY_ROTATED,
    Event.KEY_REVOKED,
    Event.USER_CREATED,
    Event.USER_UPDATED,
    Event.AUTHZ_CHANGE,
    Event.AUTHZ_ADMIN,
    Event.AUDIT_READ,
    Event.AUDIT_PRUNED,
    Event.AUDIT_RESTARTED,
}
NOISE = ["authz_fail", "authn_login_lock", "excess_rate_limit_exceeded", "input_validation_fail", "malicious_cors"]
Recorded = list[dict[str, Any]]


@pytest.fixture
def unavailable(client: TestClient) -> Iterator[TestClient]:
    """Calls an app whose audit log cannot be written."""
    written(client)
    Database(client).rows("ALTER TABLE audit_events RENAME TO elsewhere")
    yield client
    Database(client).rows("ALTER TABLE elsewhere RENAME TO audit_events")


def accounts(client: TestClient) -> int:
    return int(Database(client).rows("SELECT count(*) FROM accounts")[0][0])


def test_a_change_is_kept_with_who_and_whence(client: TestClient) -> None:
    answer = client.post("/changes", headers={"X-Request-ID": "0a1b2c3d-4e5f", "User-Agent": "x\0y" * 100})

    (row,) = kept(client)
    assert (row.seq, row.event, row.outcome, row.actor) == (1, Event.USER_CREATED, "success", "anonymous")
    assert (row.method, row.route, row.client_ip) == ("POST", "/changes", "127.0.0.1")
    assert (row.request_id, row.client_request_id) == (answer.headers["x-request-id"], "0a1b2c3d-4e5f")
    assert row.user_agent == ("x\N{REPLACEMENT CHARACTER}y" * 100)[:200]
    assert abs(datetime.now(UTC) - row.at) < timedelta(seconds=10)


def test_a_change_that_is_rolled_back_leaves_no_row_and_no_gap(client: TestClient) -> None:
    assert [change(client, fail=fail) for fail in (False, True, False)] == [200, 409, 200]

    assert [row.seq for row in kept(client)] == [1, 2]


def test_no_change_is_made_that_cannot_be_kept(unavailable: TestClient) -> None:
    before = accounts(unavailable)

    assert change(unavailable) == 503

    assert accounts(unavailable) == before


def test_an_arrival_never_waits_for_the_audit_log(unavailable: TestClient, recorded: Recorded) -> None:
    before = accounts(unavailable)

    assert unavailable.post("/arrivals").status_code == 200
    assert unavailable.post("/failures").status_code == 200

    assert accounts(unavailable) == before + 1
    assert {"authn_login_success", "authz_fail"} <= {fields["event"] for fields in recorded}


def test_that_it_cannot_be_written_is_said_once_and_nothing_is_lost(
    unavailable: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = unavailable.app.state.audit_writer  # type: ignore[attr-defined]
    assert unavailable.portal is not None
    unavailable.post("/failures")

    assert not any(unavailable.portal.call(writer.write) for _ in range(3))
    assert capsys.readouterr().out.count("the audit log cannot be written") == 1
    Database(unavailable).rows("ALTER TABLE elsewhere RENAME TO audit_events")
    written(unavailable)
    assert kept_events(unavailable)[-1] == Event.AUTHZ_FAIL
    Database(unavailable).rows("ALTER TABLE audit_events RENAME TO elsewhere")


def test_a_fault_of_the_change_itself_is_answered_as_such(client: TestClient) -> None:
    assert client.post("/changes", params={"name": ""}).status_code == 200
    assert client.post("/changes", params={"name": " padded "}).status_code == 500

    assert kept_events(client)[0] == Event.USER_CREATED


def test_the_memory_for_what_waits_is_bounded_and_what_is_left_out_is_said(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit_writer, "WAITING_AT_MOST", 3)
    written(client)

    for _ in range(5):
        client.post("/arrivals")
    written(client)

    assert "2 events are not in the audit log" in capsys.readouterr().out
    assert kept_events(client).count(Event.LOGIN_SUCCESS) == 3


@pytest.mark.parametrize("noise", NOISE)
def test_what_anybody_can_cause_pushes_out_nothing_else(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], noise: str
) -> None:
    monkeypatch.setattr(audit_writer, "WAITING_AT_MOST", 6)
    written(client)

    for _ in range(9):
        client.post("/failures", params={"event": noise})
    for _ in range(4):
        client.post("/arrivals")
    written(client)

    assert "7 events are not in the audit log" in capsys.readouterr().out
    assert kept_events(client)[-6:] == [noise] * 3 + [Event.LOGIN_SUCCESS] * 3


def test_what_waits_is_written_when_the_service_ends(client: TestClient, make_client: MakeClient) -> None:
    with TestClient(app_of_changes(), base_url="http://localhost", client=("127.0.0.1", 1)) as ending:
        ending.post("/failures")

    found = kept_events(client)
    assert Event.AUTHZ_FAIL in found
    assert found[-1] == Event.SHUTDOWN


def test_what_waits_is_written_soon(
    client: TestClient, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "WRITE_EVERY_SECONDS", 0.01)
    other = make_client(build=app_of_changes)
    other.post("/failures")

    deadline = time.monotonic() + 5
    while Event.AUTHZ_FAIL not in kept_events(client) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert Event.AUTHZ_FAIL in kept_events(client)


def test_requests_and_checkpoints_are_no_rows(client: TestClient) -> None:
    client.get("/health/live")
    written(client)
    audit_writer.checkpoints.reached(Mark(1, bytes(32)))
    audit_writer.checkpoints.say()
    written(client)

    assert set(kept_events(client)) <= {Event.STARTUP, Event.SHUTDOWN}


def test_stdout_says_from_time_to_time_where_the_chain_ends(
    client: TestClient, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "CHECKPOINT_ROWS", 3)
    monkeypatch.setattr(audit_writer, "checkpoints", audit_writer.Checkpoints())

    for _ in range(4):
        change(client)
    by_rows = [fields["subject"] for fields in recorded if fields["event"] == Event.AUDIT_CHECKPOINT]
    audit_writer.checkpoints.said_at -= audit_writer.CHECKPOINT_SECONDS
    audit_writer.checkpoints.tick()
    by_time = [fields["subject"] for fields in recorded if fields["event"] == Event.AUDIT_CHECKPOINT][len(by_rows) :]

    rows = kept(client)
    assert by_rows == [f"3:{rows[2].hash.hex()}"]
    assert by_time == [f"4:{rows[3].hash.hex()}"]


def test_every_change_is_one_of_a_log_in_or_fails_with_its_row() -> None:
    text = "".join(path.read_text() for path in (ROOT / "app/security").rglob("*.py"))
    recorded_changes = {event for event in Event if f"record_change(db, Event.{event.name}," in text}

    assert recorded_changes - audit_log.AUTHENTICATION <= PRIVILEGED
    assert not PRIVILEGED & audit_log.AUTHENTICATION


# What is said before the first change fails


@pytest.fixture
def forged(client: TestClient) -> TestClient:
    """The head is not one that was written with a key of ours."""
    change(client)
    tamper(client, "UPDATE audit_chain SET seq = 7")
    return client


def test_a_service_that_starts_says_that_the_chain_is_broken(
    forged: TestClient, make_client: MakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    make_client(build=app_of_changes)

    assert "critical" in (said := capsys.readouterr().out)
    assert "Row 7 is named by a head" in said


def test_a_broken_chain_is_said_by_what_waits_too(forged: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    writer = forged.app.state.audit_writer  # type: ignore[attr-defined]
    assert forged.portal is not None

    assert not any(forged.portal.call(writer.write) for _ in range(2))

    assert capsys.readouterr().out.count("the audit chain is broken") == 1


def test_a_chain_that_is_broken_is_a_problem(forged: TestClient, manage: Manage) -> None:
    result = manage("doctor", load=app_of_changes)

    assert result.exit_code == 1
    assert "Problem: the audit log takes no change: Row 7 " in result.stdout
