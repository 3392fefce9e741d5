"""`manage audit`: verify, prune and restart, and the rows of other commands."""

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.audit.retention import RETENTION_DAYS
from app.security.core import events
from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    ACCOUNT,
    COMMAND,
    NAME,
    Audit,
    assert_broken,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    kept,
    kept_events,
    tamper,
)
from tests.security.fixtures import Database
from tests.security.terminal import Manage
from tests.security.timing import later


@pytest.fixture
def aged(client: TestClient) -> TestClient:
    """Three old rows and two young ones."""
    with later(days=-RETENTION_DAYS - 1):
        for _ in range(3):
            change(client)
    for _ in range(2):
        change(client)
    return client


@pytest.mark.slow
def test_old_rows_are_removed_and_the_others_still_verify(aged: TestClient, audit: Audit) -> None:
    before = audit("verify").stdout.split()[-1]
    last = kept(aged)[2]

    pruned = audit("prune")

    assert (pruned.exit_code, pruned.stdout) == (0, "Removed 3 rows.\n")
    assert [row.seq for row in kept(aged)] == [4, 5, 6]
    assert (kept(aged)[-1].event, kept(aged)[-1].subject) == (Event.AUDIT_PRUNED, f"3:{last.hash.hex()}")
    assert audit("verify", "--head", before).exit_code == 0
    assert audit("prune").stdout == "Removed 0 rows.\n"
    assert change(aged) == 200
    assert audit("verify").stdout.startswith("All 4 rows verify.")


@pytest.mark.slow
def test_a_changed_row_is_not_pruned_away(aged: TestClient, audit: Audit) -> None:
    tamper(aged, "UPDATE audit_events SET actor = 'x' WHERE seq = 2")

    result = audit("prune")

    assert (result.exit_code, "Row 2 " in result.stderr) == (1, True)
    assert Event.AUDIT_VERIFIED in result.stderr
    assert len(kept(aged)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["UPDATE audit_events SET actor = 'x' WHERE seq = 2", "DELETE FROM audit_chain"])
def test_after_damage_a_new_chain_follows_the_old_rows(client: TestClient, audit: Audit, statement: str) -> None:
    for _ in range(3):
        change(client)
    tamper(client, statement)

    restarted = audit("restart")

    assert restarted.stdout.startswith("A new chain starts after row 3.")
    assert change(client) == 200
    assert kept_events(client)[-2:] == [Event.AUDIT_RESTARTED, Event.USER_CREATED]
    assert audit("verify").stdout.startswith("All 2 rows verify.")
    assert audit("restart").exit_code == 1
    tamper(client, "UPDATE audit_events SET actor = 'x' WHERE seq = 5")
    assert_broken(audit, 5)


@pytest.mark.slow
def test_a_change_at_the_terminal_is_kept_without_the_name(
    client: TestClient, manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database(client).run(lambda db: accounts.create(db, NAME, kind="service"))

    monkeypatch.setattr(events, "_listeners", [])  # those of the app: a command runs in a process of its own
    for words in (["disable"], ["enable"]):
        assert manage(*COMMAND, *words, *ACCOUNT).exit_code == 0

    assert kept_events(client) == ["user_created", "user_updated", "user_updated"]
    texts = [str(value) for row in kept(client) for value in vars(row).values()]
    assert [text for text in texts if NAME in text] == []
