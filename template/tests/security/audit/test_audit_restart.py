"""The way out of a broken chain: what is there goes into a file, and a new chain begins after it."""

import asyncio
import hashlib
import json
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.database import Database as ServiceDatabase
from app.security.access import accounts
from app.security.audit import audit_restart
from app.security.core.events import Event
from tests.security.audit.audit_helpers import (
    ACCOUNT,
    COMMAND,
    NAME,
    Audit,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    head_of,
    kept,
    put_back,
    remembered,
    tamper,
)
from tests.security.fixtures import Database
from tests.security.terminal import Manage
from tests.security.timing import at_once

ROWS = 4
# What was done, and how many rows are left to be kept.
BROKEN: dict[str, tuple[list[str], int]] = {
    "a row changed": (["UPDATE audit_events SET actor = 'x' WHERE seq = 2"], ROWS),
    "a head of somebody else": (["UPDATE audit_chain SET seq = 3"], ROWS),
    "no head": (["DELETE FROM audit_chain"], ROWS),
    "a row removed": (["DELETE FROM audit_events WHERE seq = 2"], ROWS - 1),
    "all rows removed": (["DELETE FROM audit_events"], 0),
    "a row far away": (["UPDATE audit_events SET seq = 9223372036854775807 WHERE seq = 2"], ROWS),
}


@pytest.fixture
def chain(client: TestClient) -> TestClient:
    assert [change(client) for _ in range(ROWS)] == [200] * ROWS
    return client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "broken.jsonl"


def lines(file: Path, table: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in found if line["table"] == table]


@pytest.mark.parametrize(("statements", "left"), BROKEN.values(), ids=BROKEN.keys())
def test_the_service_that_runs_goes_on_with_a_new_chain(
    chain: TestClient, audit: Audit, file: Path, statements: list[str], left: int
) -> None:
    tamper(chain, *statements)
    assert audit("verify").exit_code == 1

    restarted = audit("restart", str(file))

    assert restarted.exit_code == 0, restarted.stderr
    assert change(chain) == 200
    assert audit("verify").stdout.startswith("All 2 rows hold.")
    assert [(row.seq, row.event) for row in kept(chain)] == [
        (ROWS + 1, Event.AUDIT_RESTARTED),
        (ROWS + 2, Event.USER_CREATED),
    ]
    assert len(lines(file, "audit_events")) == left


def test_the_file_holds_everything_for_its_owner_alone_and_the_chain_knows_it(
    chain: TestClient, audit: Audit, file: Path
) -> None:
    tamper(chain, "UPDATE audit_chain SET seq = 3")
    before = kept(chain)

    audit("restart", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [line["hash"] for line in lines(file, "audit_events")] == [row.hash.hex() for row in before]
    assert [(line["name"], line["seq"]) for line in lines(file, "audit_chain")] == [("head", 3)]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert kept(chain)[0].subject == f"{ROWS}:{digest}, {ROWS} rows"


def test_what_is_changed_meanwhile_is_in_the_file_or_in_the_new_chain(
    chain: TestClient, audit: Audit, file: Path
) -> None:
    tamper(chain, "UPDATE audit_events SET actor = 'x' WHERE seq = 2")

    async def restart() -> int:
        database = ServiceDatabase()
        try:
            return (await audit_restart.restart(database, file, None))[0]
        finally:
            await database.close()

    done = at_once([lambda: asyncio.run(restart()), *[partial(change, chain)] * 10])

    assert done[1:] == [200] * 10
    assert done[0] == len(lines(file, "audit_events"))
    assert done[0] + len(kept(chain)) == ROWS + len([Event.AUDIT_RESTARTED]) + 10
    assert audit("verify").exit_code == 0


def test_a_chain_that_holds_is_not_restarted(chain: TestClient, audit: Audit, file: Path) -> None:
    refused = audit("restart", str(file))

    assert refused.exit_code == 1
    assert "nothing to restart" in refused.stderr
    assert len(kept(chain)) == ROWS
    assert not file.exists()


def test_a_file_that_is_there_stays_as_it_is(chain: TestClient, audit: Audit, file: Path) -> None:
    tamper(chain, "UPDATE audit_chain SET seq = 3")
    file.write_text("mine")

    assert audit("restart", str(file)).exit_code == 1
    assert audit("restart", str(file / "in a file")).exit_code == 1

    assert file.read_text() == "mine"
    assert len(kept(chain)) == ROWS


def test_an_older_state_is_left_with_a_checkpoint(chain: TestClient, audit: Audit, file: Path) -> None:
    old = remembered(chain)
    change(chain)
    checkpoint = head_of(audit)
    put_back(chain, old)
    assert change(chain) == 503

    restarted = audit("restart", str(file), "--head", checkpoint)

    assert restarted.exit_code == 0, restarted.stderr
    assert change(chain) == 200
    assert kept(chain)[0].seq == ROWS + 2


def test_a_new_chain_breaks_like_any_other(chain: TestClient, audit: Audit, file: Path) -> None:
    tamper(chain, "UPDATE audit_chain SET seq = 3")
    audit("restart", str(file))
    change(chain)

    tamper(chain, f"DELETE FROM audit_events WHERE seq = {ROWS + 1}")  # noqa: S608

    assert audit("verify").exit_code == 1
    assert audit("restart", str(file.with_suffix(".2"))).exit_code == 0
    assert kept(chain)[0].seq == ROWS + 3


def test_a_command_that_a_broken_chain_stops_says_how_to_look_into_it(chain: TestClient, manage: Manage) -> None:
    Database(chain).run(lambda db: accounts.create(db, NAME, kind="service"))
    tamper(chain, "UPDATE audit_chain SET seq = 3")

    refused = manage(*COMMAND, "disable", *ACCOUNT)

    assert refused.exit_code == 1
    assert "manage audit verify" in refused.stderr.splitlines()[-1]
    assert "migrate" not in refused.stderr
    assert Database(chain).rows("SELECT is_active FROM accounts WHERE login = 'billing'") == [(True,)]
