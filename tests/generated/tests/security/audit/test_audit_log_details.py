"""The audit log: what waits in memory, and the checkpoints."""

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
from tests.security.audit.test_audit_log import Recorded


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
