"""An audit log that cannot be written: rows wait, changes and commands fail, and the log says why."""

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.audit import writers
from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    ACCOUNT,
    COMMAND,
    NAME,
    change,
    client_of_changes,  # noqa: F401
    kept_events,
    tamper,
    write,
)
from tests.security.audit.test_audit_log import unavailable
from tests.security.fixtures import Database
from tests.security.terminal import Manage

__all__ = ["unavailable"]  # a fixture


def test_rows_that_cannot_be_written_wait_and_are_logged(
    unavailable: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    unavailable.post("/failures")

    assert not write(unavailable)

    assert "the audit log cannot be written" in capsys.readouterr().out
    Database(unavailable).rows("ALTER TABLE elsewhere RENAME TO audit_events")
    assert write(unavailable)
    assert kept_events(unavailable)[-1] == Event.AUTHZ_FAIL
    Database(unavailable).rows("ALTER TABLE audit_events RENAME TO elsewhere")


def test_a_batch_whose_commit_lost_its_response_is_written_once_and_stops_no_later_one(client: TestClient) -> None:
    client.post("/failures")
    batch = list(writers[-1]._waiting)
    assert write(client)

    writers[-1]._waiting.extendleft(batch)
    assert write(client)
    client.post("/failures")
    assert write(client)

    ids = [one for (one,) in Database(client).rows("SELECT id FROM audit_events")]
    assert len(ids) == len(set(ids)) >= len(batch) > 0
    assert not writers[-1]._waiting


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE audit_chain SET seq = 7", "Row 7 is named by a head that no current key has signed"),
        ("DELETE FROM audit_chain", "Row 1 exists, but no head of the chain"),
    ],
)
def test_a_service_with_a_forged_or_removed_head_refuses_changes_and_logs_why(
    client: TestClient, capsys: pytest.CaptureFixture[str], statement: str, why: str
) -> None:
    change(client)
    tamper(client, statement)

    assert change(client) == 503

    assert why in capsys.readouterr().out


def test_a_command_that_a_broken_chain_stops_names_the_command_to_run(client: TestClient, manage: Manage) -> None:
    Database(client).run(lambda db: accounts.create(db, NAME, kind="service"))
    tamper(client, "UPDATE audit_chain SET seq = 3")

    refused = manage(*COMMAND, "disable", *ACCOUNT)

    assert refused.exit_code == 1
    assert "manage audit verify" in refused.stderr.splitlines()[-1]
    assert Database(client).rows("SELECT is_active FROM accounts WHERE login = 'billing'") == [(True,)]
