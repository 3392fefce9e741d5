"""`manage audit …`, and what other commands leave in the audit log."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.audit import audit_check
from app.security.audit.audit_check import RETENTION_DAYS
from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    ACCOUNT,
    COMMAND,
    NAME,
    Audit,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    kept,
    kept_events,
)
from tests.security.fixtures import Database
from tests.security.project_copy import Copy
from tests.security.terminal import Manage
from tests.security.timing import later

MAKE_ACCOUNT = """INSERT INTO accounts (id, kind, name, login, created_at)
    VALUES ('00112233445566778899aabbccddeeff', 'service', 'billing', 'billing', '2026-01-01 00:00:00')"""


@pytest.fixture
def aged(client: TestClient, audit: Audit) -> TestClient:
    """Three old rows and two young ones."""
    with later(days=-RETENTION_DAYS - 1):
        for _ in range(3):
            change(client)
    for _ in range(2):
        change(client)
    return client


def test_old_rows_go_and_the_others_still_verify(aged: TestClient, audit: Audit) -> None:
    before = audit("verify").stdout.split()[-1]

    pruned = audit("prune")

    assert (pruned.exit_code, pruned.stdout) == (0, "Removed 3 rows.\n")
    assert [row.seq for row in kept(aged)] == [4, 5, 6]
    assert (kept(aged)[-1].event, kept(aged)[-1].subject) == (Event.AUDIT_PRUNED, "1-3")
    assert audit("verify", "--head", before).exit_code == 0
    assert audit("prune").stdout == "Removed 0 rows.\n"
    assert change(aged) == 200
    assert audit("verify").exit_code == 0


def test_many_old_rows_go_part_by_part(aged: TestClient, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_check, "PRUNED_AT_ONCE", 2)

    assert audit("prune").stdout == "Removed 3 rows.\n"

    assert audit("verify").exit_code == 0


def test_what_was_changed_is_not_pruned_away(aged: TestClient, audit: Audit) -> None:
    Database(aged).rows("UPDATE audit_events SET actor = 'x' WHERE seq = 2")

    result = audit("prune")

    assert result.exit_code == 1
    assert "Row 2 " in result.stderr
    assert len(kept(aged)) == 5


def test_a_row_before_the_start_is_named(aged: TestClient, audit: Audit) -> None:
    audit("prune")
    Database(aged).rows("UPDATE audit_events SET seq = 2 WHERE seq = 5")

    result = audit("verify")

    assert result.exit_code == 1
    assert "Row 2 was put in" in result.stderr


def test_a_checkpoint_of_pruned_rows_is_not_taken_for_good(aged: TestClient, audit: Audit) -> None:
    audit("prune")

    result = audit("verify", "--head", f"1:{'0' * 64}")

    assert result.exit_code == 1
    assert "pruned" in result.stderr


def test_days_are_at_least_one(aged: TestClient, audit: Audit) -> None:
    assert audit("prune", "--days", "0").exit_code == 2
    assert len(kept(aged)) == 5


def test_verifying_is_an_event(aged: TestClient, audit: Audit) -> None:
    good = audit("verify").stderr
    Database(aged).rows("DELETE FROM audit_events WHERE seq = 2")
    bad = audit("verify").stderr

    assert Event.AUDIT_VERIFIED in good
    assert "success" in good
    assert Event.AUDIT_VERIFIED in bad
    assert "failure" in bad


def test_what_is_done_at_the_terminal_is_kept_without_a_name(client: TestClient, manage: Manage) -> None:
    Database(client).run(lambda db: accounts.create(db, NAME, kind="service"))

    for words in (["disable"], ["enable"]):
        assert manage(*COMMAND, *words, *ACCOUNT).exit_code == 0

    assert kept_events(client) == ["user_created", "user_updated", "user_updated"]
    texts = [str(value) for row in kept(client) for value in vars(row).values()]
    assert [text for text in texts if NAME in text] == []


def test_a_command_whose_row_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.migrate()
    copy.rows(MAKE_ACCOUNT)
    copy.rows("DROP TABLE audit_events")

    result = copy.run("app.manage", *COMMAND, "disable", *ACCOUNT)

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert copy.rows("SELECT is_active FROM accounts") == [(1,)]


def test_two_processes_add_to_one_chain_and_each_says_where_it_ends(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.migrate()
    copy.rows(MAKE_ACCOUNT)

    said = [copy.run("app.manage", *COMMAND, word, *ACCOUNT).stderr for word in ("disable", "enable")]

    checked = copy.run("app.manage", "audit", "verify")
    assert checked.stdout.startswith("All 2 rows hold.")
    assert [text.count(Event.AUDIT_CHECKPOINT) for text in said] == [1, 1]


def test_an_empty_database_is_said_in_one_line(environment: Callable[..., None], audit: Audit, tmp_path: Path) -> None:
    environment(DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    result = audit("verify")

    assert result.exit_code == 1
    assert "manage migrate" in result.stderr
