"""Attacks on the audit log: each change of its tables is found, and the first broken row is named."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.core.tables import AuditEvent
from tests.security.audit.audit_helpers import (
    Audit,
    app_of_changes,
    assert_broken,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    kept,
    read_head,
    restore,
    tamper,
)
from tests.security.fixtures import Database, MakeClient

ROWS = 9
SHIFT = "UPDATE audit_events SET seq = -1 - seq WHERE seq >= 5", "UPDATE audit_events SET seq = -seq WHERE seq < 0"
# What is done, and the first row that is broken by it.
TAMPERING: dict[str, tuple[list[str], int]] = {
    **{
        f"{column} of row {seq}": ([f"UPDATE audit_events SET {column} = {value} WHERE seq = {seq}"], seq)  # noqa: S608
        for seq in (1, 5, 9)
        for column, value in {
            "event": "'user_updated'",
            "actor": "'somebody'",
            "subject": "NULL",
            "reason": "''",
            "at": "'2026-01-01 00:00:00.000000'",
            "key_id": "'00000000'",
        }.items()
    },
    **{
        f"row {seq} deleted": ([f"DELETE FROM audit_events WHERE seq = {seq}"], seq)  # noqa: S608
        for seq in (1, 5, 9)
    },
    "the tail deleted": (["DELETE FROM audit_events WHERE seq > 6"], 7),
    "all deleted": (["DELETE FROM audit_events"], 1),
    "two swapped": (
        [
            "UPDATE audit_events SET seq = -3 WHERE seq = 3",
            "UPDATE audit_events SET seq = 3 WHERE seq = 6",
            "UPDATE audit_events SET seq = 6 WHERE seq = -3",
        ],
        3,
    ),
    "room made": ([*SHIFT], 5),
    "no head": (["DELETE FROM audit_chain"], ROWS),
    "the tail cut and the head moved": (
        [
            "DELETE FROM audit_events WHERE seq > 6",
            "UPDATE audit_chain SET seq = 6, hash = (SELECT hash FROM audit_events WHERE seq = 6)",
        ],
        6,
    ),
    **{
        f"a forged start: {event} {subject} in row {seq}": (
            [
                f"UPDATE audit_events SET event = '{event}', subject = {subject} WHERE seq = {seq}",  # noqa: S608
                "DELETE FROM audit_events WHERE seq <= 3",
            ],
            broken,
        )
        for event in ("audit_pruned", "audit_restarted")
        for seq, subject, broken in (
            (4, f"'3:{'0' * 64}'", 4),
            (9, f"'3:{'0' * 64}'", 4),
            (9, f"'8:{'0' * 64}'", 4 if event == "audit_pruned" else 9),
            (9, f"'9:{'0' * 64}'", 9),
            (9, "'nonsense'", 1),
        )
    },
}


@pytest.fixture
def chain(client: TestClient) -> TestClient:
    assert [change(client) for _ in range(ROWS)] == [200] * ROWS
    return client


def values_of(row: AuditEvent) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in AuditEvent.__table__.columns}


def insert(client: TestClient, values: dict[str, Any]) -> None:
    async def work(db: AsyncSession) -> None:
        db.add(AuditEvent(**values))

    Database(client).run(work)


def test_an_empty_log_is_reported_as_such(client: TestClient, audit: Audit) -> None:
    result = audit("verify")

    assert (result.exit_code, "nothing was written yet" in result.stdout, "verify" in result.stdout) == (0, True, False)


@pytest.mark.parametrize(("statements", "seq"), TAMPERING.values(), ids=TAMPERING.keys())
def test_the_first_broken_row_is_named(chain: TestClient, audit: Audit, statements: list[str], seq: int) -> None:
    tamper(chain, *statements)

    assert_broken(audit, seq)


def test_with_a_head_that_nobody_signed_the_rows_are_verified_all_the_same(chain: TestClient, audit: Audit) -> None:
    """An attacker who spoils the head must not hide whether the rows are as they were written."""
    tamper(chain, "UPDATE audit_chain SET seq = 5")
    assert "Row 9 and all from 1 on verify, but no current key has signed the head." in audit("verify").stderr

    tamper(chain, "UPDATE audit_events SET actor = 'x' WHERE seq = 3")
    assert_broken(audit, 3)


@pytest.mark.parametrize(("shift", "seq"), [((), ROWS + 1), (SHIFT, 5)], ids=["at the end", "between"])
def test_a_row_that_was_put_in_is_named(chain: TestClient, audit: Audit, shift: tuple[str, ...], seq: int) -> None:
    tamper(chain, *shift)

    insert(chain, values_of(kept(chain)[1]) | {"seq": seq, "id": uuid4()})

    assert_broken(audit, seq)


@pytest.mark.parametrize("later_rows", [0, 1])
def test_a_row_of_another_history_shows_in_the_next_one_or_in_the_head(
    chain: TestClient, make_client: MakeClient, audit: Audit, later_rows: int
) -> None:
    old = read_head(chain)
    change(chain)
    other = values_of(kept(chain)[-1])
    restore(chain, old)
    other_process = make_client(build=app_of_changes)
    assert {change(other_process) for _ in range(1 + later_rows)} == {200}
    tamper(chain, f"DELETE FROM audit_events WHERE seq = {ROWS + 1}")  # noqa: S608

    insert(chain, other)

    assert_broken(audit, ROWS + 1 + later_rows)
