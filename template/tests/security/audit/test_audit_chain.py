"""The chain of the audit log: whatever is done to a row shows, and the first broken one is named."""

from functools import partial
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
    head_of,
    kept,
    kept_events,
    put_back,
    remembered,
    tamper,
)
from tests.security.fixtures import Database, MakeClient
from tests.security.timing import at_once

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
    "no head": (["DELETE FROM audit_chain"], 9),
    "the tail cut and the head moved": (
        [
            "DELETE FROM audit_events WHERE seq > 6",
            "UPDATE audit_chain SET seq = 6, hash = (SELECT hash FROM audit_events WHERE seq = 6)",
        ],
        6,
    ),
    "a start made up": (
        [
            "INSERT INTO audit_chain SELECT 'start', 3, hash, hash FROM audit_events WHERE seq = 3",
            "DELETE FROM audit_events WHERE seq <= 3",
        ],
        3,
    ),
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


def test_what_was_written_verifies(chain: TestClient, audit: Audit) -> None:
    result = audit("verify")

    assert result.exit_code == 0
    assert f"All {ROWS} rows hold." in result.stdout


def test_that_nothing_was_ever_written_is_said_as_such(client: TestClient, audit: Audit) -> None:
    result = audit("verify")

    assert (result.exit_code, "nothing was ever written" in result.stdout, "hold" in result.stdout) == (0, True, False)


@pytest.mark.parametrize(("statements", "seq"), TAMPERING.values(), ids=TAMPERING.keys())
def test_the_first_broken_row_is_named(chain: TestClient, audit: Audit, statements: list[str], seq: int) -> None:
    tamper(chain, *statements)

    assert_broken(audit, seq)


@pytest.mark.parametrize(("shift", "seq"), [((), ROWS + 1), (SHIFT, 5)], ids=["at the end", "between"])
def test_a_row_that_was_put_in_is_named(chain: TestClient, audit: Audit, shift: tuple[str, ...], seq: int) -> None:
    tamper(chain, *shift)

    insert(chain, values_of(kept(chain)[1]) | {"seq": seq, "id": uuid4()})

    assert_broken(audit, seq)


def test_nothing_is_added_to_a_chain_whose_tail_was_cut(chain: TestClient, audit: Audit) -> None:
    tamper(chain, *TAMPERING["the tail cut and the head moved"][0])

    assert change(chain) == 503

    assert len(kept(chain)) == 6
    assert_broken(audit, 6)


def test_no_second_chain_is_begun_where_there_was_one(chain: TestClient, audit: Audit) -> None:
    tamper(chain, "DELETE FROM audit_chain", "DELETE FROM audit_events WHERE seq < 3")

    assert change(chain) == 503

    assert_broken(audit, 1)


def test_an_older_state_put_back_is_found_by_a_checkpoint(chain: TestClient, audit: Audit) -> None:
    old = remembered(chain)
    change(chain)
    checkpoint = head_of(audit)

    put_back(chain, old)

    assert audit("verify").exit_code == 0
    assert_broken(audit, ROWS + 1, "--head", checkpoint)


def test_a_row_of_another_history_shows_in_the_next_one(
    chain: TestClient, make_client: MakeClient, audit: Audit
) -> None:
    old = remembered(chain)
    change(chain)
    other = values_of(kept(chain)[-1])
    put_back(chain, old)
    other_process = make_client(build=app_of_changes)
    assert [change(other_process), change(other_process)] == [200, 200]
    tamper(chain, f"DELETE FROM audit_events WHERE seq = {ROWS + 1}")  # noqa: S608

    insert(chain, other)

    assert_broken(audit, ROWS + 2)


def test_a_checkpoint_that_holds_is_confirmed_and_another_is_not(chain: TestClient, audit: Audit) -> None:
    checkpoint = head_of(audit)
    change(chain)

    assert audit("verify", "--head", checkpoint).exit_code == 0
    assert_broken(audit, ROWS, "--head", f"{ROWS}:{'0' * 64}")
    assert audit("verify", "--head", "nonsense").exit_code == 1


def test_of_parallel_changes_the_committed_ones_are_there_in_one_chain(client: TestClient, audit: Audit) -> None:
    statuses = at_once([partial(change, client, fail=number % 2) for number in range(20)])

    assert sorted(statuses) == [200] * 10 + [409] * 10
    assert kept_events(client) == ["user_created"] * 10
    assert [row.seq for row in kept(client)] == list(range(1, 11))
    assert audit("verify").exit_code == 0


def test_two_apps_add_to_one_chain(client: TestClient, make_client: MakeClient, audit: Audit) -> None:
    other = make_client(build=app_of_changes)

    assert at_once([partial(change, one) for one in (client, other) * 5]) == [200] * 10

    assert len(kept(client)) == 10
    assert audit("verify").exit_code == 0
