"""What is kept of an API key, what its use writes down, and how fast it can be taken back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.tables import ApiKey
from app.security.keys import store as key_store
from app.security.keys.store import TooManyKeys
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import Database, MakeClient
from tests.security.keys.key_resource import app_with_a_vault, disable_owner, revoke, statements
from tests.security.keys.programs import Program, issue_key
from tests.security.timing import later

AsProgram = Callable[..., Program]
Recorded = list[dict[str, Any]]


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


def test_the_database_holds_nothing_that_opens_anything(as_program: AsProgram) -> None:
    program = as_program()
    secret = program.key.rpartition("_")[2]

    rows = Database(program).rows("SELECT * FROM api_keys")

    assert len(rows) == 1
    assert program.key not in str(rows)
    assert secret not in str(rows)
    assert secret[:-6] not in str(rows)


def test_nothing_of_a_key_is_written_to_a_log(as_program: AsProgram, capfd: Capture) -> None:
    program = as_program()
    secret = program.key.rpartition("_")[2]

    program.get("/vault")
    program.get("/nowhere", params={"key": program.key})

    printed = written(capfd)
    assert "/vault" in printed
    assert secret not in printed


def test_a_hundred_calls_write_its_last_use_once(as_program: AsProgram, client: TestClient) -> None:
    program = as_program()

    with statements(client) as sent:
        answers = {program.get("/vault").status_code for _ in range(100)}

    assert answers == {200}
    assert len([statement for statement in sent if statement.startswith("UPDATE api_keys")]) == 1


def test_the_last_use_moves_on_after_five_minutes(as_program: AsProgram) -> None:
    program = as_program()
    uses = []
    for minutes in (0, 4, 6):
        with later(minutes=minutes):
            program.get("/vault")
        uses.append(Database(program).rows("SELECT last_used_at FROM api_keys")[0][0])

    assert uses[0] == uses[1] != uses[2]


def test_the_first_use_is_an_event_and_later_ones_are_none(as_program: AsProgram, recorded: Recorded) -> None:
    program = as_program()

    for minutes in (0, 0, 6):
        with later(minutes=minutes):
            program.get("/vault")

    found = [fields for fields in recorded if fields["event"] == "api_key_first_use"]
    assert [fields["subject"] for fields in found] == [str(program.key_id)]


@pytest.mark.parametrize("end", [revoke, disable_owner])
def test_what_was_ended_opens_nothing_at_the_next_request(
    make_client: MakeClient, as_program: AsProgram, end: Callable[[Program], None]
) -> None:
    client = make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0.5")
    program = as_program(client=client)
    elsewhere = make_client(app_with_a_vault())  # another process on the same database
    assert program.get("/vault").status_code == 200

    end(program)
    client.app.state.credentials.cache.forget(program.id)  # type: ignore[attr-defined]

    assert program.get("/vault").status_code == 401
    assert elsewhere.get("/vault", headers={"X-API-Key": program.key}).status_code == 401


def test_an_account_has_ten_keys_at_most(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()
    for _ in range(9):
        issue_key(client, program.id, "vault:read")

    with pytest.raises(TooManyKeys):
        issue_key(client, program.id, "vault:read")

    revoke(program)
    issue_key(client, program.id, "vault:read")


def test_a_busy_database_is_no_reason_to_refuse_a_good_key(
    as_program: AsProgram, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = as_program()
    database = client.app.state.database  # type: ignore[attr-defined]

    def busy() -> None:
        from sqlalchemy.exc import OperationalError

        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(database, "begin", busy)

    assert program.get("/vault").status_code == 200


def test_doctor_says_whose_keys_are_live(client: TestClient, as_program: AsProgram) -> None:
    as_program(name="billing")
    revoke(as_program(name="gone"))
    hooks = client.app.state.hooks  # type: ignore[attr-defined]

    async def said(db: AsyncSession) -> list[str]:
        return [line for look in hooks.hints for line in await look(db, client.app.state.policies)]  # type: ignore[attr-defined]

    assert "1 live API keys of billing: they open something" in str(Database(client).run(said))
    assert "gone" not in str(Database(client).run(said))


def test_ending_all_keys_of_an_account_ends_no_other(client: TestClient, as_program: AsProgram) -> None:
    mine, other = as_program(), as_program()

    Database(client).run(lambda db: accounts.revoke_keys(db, mine.id))

    assert (mine.get("/vault").status_code, other.get("/vault").status_code) == (401, 200)


def test_of_two_rotations_at_once_one_succeeds(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()

    async def rotate(db: AsyncSession) -> None:
        key = await db.get_one(ApiKey, program.key_id)
        await key_store.rotate(db, key, key_store.longest_overlap())

    Database(client).run(rotate)
    with pytest.raises(key_store.KeyGone):
        Database(client).run(rotate)


@pytest.mark.parametrize(
    ("change", "events"),
    [
        (lambda db, key: key_store.revoke(db, key), ["api_key_revoked"]),
        (lambda db, key: key_store.rotate(db, key, timedelta(hours=1)), ["api_key_created", "api_key_rotated"]),
    ],
    ids=["revoke", "rotate"],
)
def test_every_change_of_a_key_is_an_event(
    client: TestClient, as_program: AsProgram, recorded: Recorded, change: Callable[..., Any], events: list[str]
) -> None:
    program = as_program()
    recorded.clear()

    async def work(db: AsyncSession) -> None:
        await change(db, await db.get_one(ApiKey, program.key_id))

    Database(client).run(work)

    assert [fields["event"] for fields in recorded] == events
