"""Rows of API keys: expiry, maximum, rotation and races."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.access.accounts import AccountError
from app.security.core.tables import ApiKey
from app.security.keys import store
from app.security.keys.store import NewKey
from tests.security.fixtures import Database, MakeClient
from tests.security.keys.key_resource import app_with_a_vault, disable_owner, revoke
from tests.security.programs import Program, issue_key
from tests.security.timing import at_once, later

AsProgram = Callable[..., Program]
Recorded = list[dict[str, Any]]


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


def rotate(program: Program) -> NewKey:
    async def work(db: AsyncSession) -> NewKey:
        return await store.rotate(db, await db.get_one(ApiKey, program.key_id), 24)

    return Database(program).run(work)


def refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except AccountError:
        return True
    return False


def test_a_key_expires_on_its_day(as_program: AsProgram, client: TestClient) -> None:
    program = as_program()
    program.headers["X-API-Key"] = issue_key(client, program.id, "vault:read", days=2).text

    with later(days=1, hours=23):
        before = program.get("/vault").status_code
    with later(days=2):
        after = program.get("/vault").status_code

    assert (before, after) == (200, 401)


def test_a_repeated_header_is_refused(as_program: AsProgram, client: TestClient) -> None:
    key = as_program().key

    assert client.get("/vault", headers=[("X-API-Key", key), ("X-API-Key", key)]).status_code == 400


def test_the_last_use_is_written_again_after_five_minutes(as_program: AsProgram) -> None:
    program = as_program()
    uses = []
    for minutes in (0, 4, 6):
        with later(minutes=minutes):
            program.get("/vault")
        uses.append(Database(program).rows("SELECT last_used_at FROM api_keys")[0][0])

    assert uses[0] == uses[1] != uses[2]


@pytest.mark.parametrize("end", [revoke, disable_owner])
def test_an_ended_key_is_refused_at_the_next_request_in_every_process(
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


def test_the_eleventh_key_is_refused_also_at_once(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()
    for _ in range(7):
        issue_key(client, program.id, "vault:read")

    results = at_once([lambda: refused(lambda: issue_key(client, program.id, "vault:read"))] * 6)

    assert sorted(results) == [False, False, True, True, True, True]
    revoke(program)
    assert not refused(lambda: issue_key(client, program.id, "vault:read"))


def test_a_key_is_rotated_once_also_at_once(as_program: AsProgram) -> None:
    program = as_program()

    results = at_once([lambda: refused(lambda: rotate(program))] * 5)

    assert sorted(results) == [False, True, True, True, True]


def test_a_busy_database_does_not_refuse_a_valid_key(
    as_program: AsProgram, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = as_program()

    def busy() -> None:
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(client.app.state.database, "begin", busy)  # type: ignore[attr-defined]

    assert program.get("/vault").status_code == 200


def test_revoking_every_key_of_an_account_revokes_no_other(client: TestClient, as_program: AsProgram) -> None:
    mine, other = as_program(), as_program()

    Database(client).run(lambda db: accounts.revoke_keys(db, mine.id))

    assert (mine.get("/vault").status_code, other.get("/vault").status_code) == (401, 200)


def test_every_change_of_a_key_is_an_event(as_program: AsProgram, recorded: Recorded) -> None:
    program = as_program()
    recorded.clear()

    rotate(program)

    async def end(db: AsyncSession) -> None:
        await accounts.revoke_keys(db, program.id, ApiKey.id == program.key_id)

    Database(program).run(end)

    found = [fields["event"] for fields in recorded if fields["event"].startswith("api_key")]
    assert found == ["api_key_created", "api_key_rotated", "api_key_revoked"]
