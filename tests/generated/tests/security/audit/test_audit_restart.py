"""A new chain after damage: `manage audit restart` in every state, also after 0.1.0."""

from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.audit import retention
from app.security.audit.chain import EVENTS, Position, row_hash, write_head
from app.security.audit.retention import RETENTION_DAYS
from app.security.core import events
from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    Audit,
    app_of_changes,
    assert_broken,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    kept,
    kept_events,
    tamper,
)
from tests.security.fixtures import Database, MakeClient
from tests.security.timing import at_once, later

ROW_HASH = "eeb19a3ed4ed3156c54d907ec8ff7bf275631bc0a0576ef0ae052e8cc9615a2f"
HEAD_MAC = "5034f39db8e003ffd194815e38a60fb47fd632cf59c7c73bbfe810d4d5ff9b37"
ROWS = 4
BROKEN = {
    "a row changed": "UPDATE audit_events SET actor = 'x' WHERE seq = 2",
    "a forged head": "UPDATE audit_chain SET seq = 3",
    "no head": "DELETE FROM audit_chain",
    "a row removed": "DELETE FROM audit_events WHERE seq = 2",
    "a number without successor": "UPDATE audit_events SET seq = 9223372036854775807 WHERE seq = 2",
}


@pytest.fixture(name="rows")
def app_with_rows(client: TestClient) -> TestClient:
    assert [change(client) for _ in range(ROWS)] == [200] * ROWS
    return client


@pytest.mark.parametrize("statement", BROKEN.values(), ids=BROKEN)
def test_a_running_service_appends_to_the_new_chain(rows: TestClient, audit: Audit, statement: str) -> None:
    tamper(rows, statement)
    assert audit("verify").exit_code == 1

    restarted = audit("restart")

    assert restarted.exit_code == 0, restarted.stderr
    assert change(rows) == 200
    assert audit("verify").stdout.startswith("All 2 rows verify.")
    found = [(row.seq, row.event) for row in kept(rows)]
    assert found[-2:] == [(ROWS + 1, Event.AUDIT_RESTARTED), (ROWS + 2, Event.USER_CREATED)]
    assert kept(rows)[-2].reason.startswith("Row ")  # type: ignore[union-attr]


def test_after_all_rows_were_removed_the_service_is_restarted_too(
    rows: TestClient, make_client: MakeClient, audit: Audit
) -> None:
    tamper(rows, "DELETE FROM audit_events")

    assert audit("restart").stdout.startswith("A new chain starts after row 0.")

    assert change(rows) == 503
    assert change(make_client(build=app_of_changes)) == 200
    assert audit("verify").stdout.startswith("All 2 rows verify.")


def test_the_old_rows_are_pruned_with_their_time(client: TestClient, audit: Audit) -> None:
    with later(days=-RETENTION_DAYS - 1):
        for _ in range(ROWS):
            change(client)
        tamper(client, "UPDATE audit_events SET actor = 'x' WHERE seq = 2")
        assert audit("restart").exit_code == 0
        change(client)
    change(client)

    assert audit("prune").stdout == f"Removed {ROWS + 2} rows.\n"

    assert kept_events(client) == [Event.USER_CREATED, Event.AUDIT_PRUNED]
    assert audit("verify").stdout.startswith("All 2 rows verify.")


def test_of_old_rows_alone_nothing_is_said_in_the_chain(client: TestClient, audit: Audit) -> None:
    with later(days=-RETENTION_DAYS - 1):
        for _ in range(ROWS):
            change(client)
    tamper(client, "UPDATE audit_events SET actor = 'x' WHERE seq = 2")
    assert audit("restart").exit_code == 0

    assert audit("prune").stdout == f"Removed {ROWS} rows.\n"

    assert kept_events(client) == [Event.AUDIT_RESTARTED]
    assert audit("verify").stdout.startswith("All 1 rows verify.")


def test_a_new_chain_breaks_like_any_other(rows: TestClient, audit: Audit) -> None:
    tamper(rows, "UPDATE audit_chain SET seq = 3")
    audit("restart")
    change(rows)

    tamper(rows, f"DELETE FROM audit_events WHERE seq = {ROWS + 1}")  # noqa: S608

    assert audit("verify").exit_code == 1
    assert audit("restart").exit_code == 0
    assert kept(rows)[-1].seq == ROWS + 3


def test_many_old_rows_are_pruned_in_parts(client: TestClient, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    with later(days=-RETENTION_DAYS - 1):
        for _ in range(5):
            change(client)
    change(client)

    assert audit("prune").stdout == "Removed 5 rows.\n"

    assert audit("verify").stdout.startswith("All 4 rows verify.")


def test_a_row_before_the_start_is_named(client: TestClient, audit: Audit) -> None:
    with later(days=-RETENTION_DAYS - 1):
        change(client)
        change(client)
    assert [change(client) for _ in range(2)] == [200] * 2
    audit("prune")
    tamper(client, "UPDATE audit_events SET seq = 2 WHERE seq = 4")

    assert "Row 2 was inserted" in audit("verify").stderr


def test_a_checkpoint_of_pruned_rows_proves_nothing(client: TestClient, audit: Audit) -> None:
    with later(days=-RETENTION_DAYS - 1):
        change(client)
    change(client)
    audit("prune")

    result = audit("verify", "--head", f"1:{'0' * 64}")

    assert (result.exit_code, "use a newer one" in result.stderr) == (1, True)


def test_what_others_append_and_prune_is_no_older_state(
    client: TestClient, make_client: MakeClient, audit: Audit
) -> None:
    other = make_client(build=app_of_changes)
    assert [change(other), change(client), change(client)] == [200] * 3
    with later(days=RETENTION_DAYS + 1):
        assert audit("prune").exit_code == 0

    assert [change(other), change(client)] == [200] * 2
    assert audit("verify").exit_code == 0


def test_parallel_changes_of_two_apps_form_one_chain(client: TestClient, make_client: MakeClient, audit: Audit) -> None:
    apps = (client, make_client(build=app_of_changes))

    statuses = at_once([partial(change, apps[number % 2], fail=number % 4 > 1) for number in range(20)])

    assert sorted(statuses) == [200] * 10 + [409] * 10
    assert [row.seq for row in kept(client)] == list(range(1, 11))
    assert audit("verify").exit_code == 0


def test_changes_during_a_restart_are_in_one_of_both_chains(rows: TestClient, audit: Audit) -> None:
    tamper(rows, "UPDATE audit_events SET actor = 'x' WHERE seq = 2")

    restarted, *statuses = at_once([lambda: audit("restart").exit_code, *[partial(change, rows)] * 10])

    assert (restarted, statuses) == (0, [200] * 10)
    assert len(kept(rows)) == ROWS + len([Event.AUDIT_RESTARTED]) + 10
    assert audit("verify").exit_code == 0


def test_a_log_that_0_1_0_pruned_needs_one_restart(rows: TestClient, audit: Audit) -> None:
    async def prune(db: AsyncSession) -> None:
        events.record_change(db, Event.AUDIT_PRUNED, subject="1-2")  # without a hash
        await db.execute(delete(EVENTS).where(EVENTS.c.seq <= 2))

    Database(rows).run(prune)
    assert change(rows) == 200
    assert_broken(audit, 1)

    assert audit("restart").exit_code == 0

    assert audit("verify").stdout.startswith("All 1 rows verify.")


def test_a_log_that_0_1_0_restarted_verifies(rows: TestClient, audit: Audit) -> None:
    start = Position(ROWS, bytes(range(32)))

    async def restart(db: AsyncSession) -> None:
        await db.execute(delete(EVENTS))
        await write_head(db, start)
        events.record_change(db, Event.AUDIT_RESTARTED, subject=f"{start}, {ROWS} rows")

    Database(rows).run(restart)

    assert change(rows) == 200
    assert audit("verify").stdout.startswith("All 2 rows verify.")


def test_the_hashes_are_those_of_0_1_0() -> None:
    row = {"seq": 7, "id": UUID(int=5), "at": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "actor": "système"}

    assert row_hash(bytes(range(32)), bytes(32), row | {"reason": None}).hex() == ROW_HASH
    assert Position(7, bytes(32)).mac(bytes(range(32))).hex() == HEAD_MAC
