"""API keys: what a key may call, how it is sent, and the uniform response to an invalid one."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts as account_store
from app.security.core.tables import AccountRole
from app.security.keys.store import new_key
from tests.security.captured_logs import Capture, written
from tests.security.every_route import guarded_calls
from tests.security.fixtures import Database, MakeClient
from tests.security.keys.key_resource import app_with_a_vault, change_row, disable_owner, expire, revoke, statements
from tests.security.programs import Program

AsProgram = Callable[..., Program]
Recorded = list[dict[str, Any]]


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(account_store, "ROLES", {"admin", "auditor"})  # whether this project has any or none
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


def give_role(program: Program, role: str) -> None:
    async def add(db: AsyncSession) -> None:
        db.add(AccountRole(account_id=program.id, role=role))

    Database(program).run(add)


def test_a_program_calls_with_its_key_as_its_account(as_program: AsProgram) -> None:
    program = as_program(scope="vault:read", name="billing")

    response = program.get("/vault")

    assert response.json() == {"id": str(program.id), "name": "billing", "kind": "service", "roles": []}


def test_a_key_is_limited_to_its_scopes(as_program: AsProgram) -> None:
    reader, writer = as_program(scope="vault:read"), as_program(scope="vault:write")

    responses = [reader.get("/vault"), reader.put("/vault"), writer.get("/vault"), writer.put("/vault")]

    assert [response.status_code for response in responses] == [200, 403, 403, 200]
    challenge = responses[2].headers["www-authenticate"]
    assert challenge.startswith('APIKey realm="api", error="insufficient_scope"')
    assert 'scope="vault:read"' in challenge


@pytest.mark.slow
def test_no_key_of_an_administrator_calls_a_route_without_a_scope(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()
    give_role(program, "admin")
    assert program.get("/vault").json()["roles"] == ["admin"]
    unscoped = [call for call in guarded_calls(client) if not call.policy.scopes]

    assert {(call.method, call.path): call.status(program) for call in unscoped} == {
        (call.method, call.path): 403 for call in unscoped
    }


@pytest.mark.slow
def test_a_key_has_the_roles_that_its_owner_has_now(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()
    give_role(program, "auditor")
    give_role(program, "removed_role")
    before = program.get("/vault").json()["roles"]

    Database(client).rows("DELETE FROM account_roles")

    assert (before, program.get("/vault").json()["roles"]) == (["auditor"], [])


def test_a_key_is_read_from_its_header_alone(client: TestClient, as_program: AsProgram) -> None:
    key = as_program().key
    elsewhere: dict[str, dict[str, Any]] = {
        "query": {"params": {"api_key": key, "X-API-Key": key}},
        "cookie": {"headers": {"Cookie": f"X-API-Key={key}"}},
        "bearer": {"headers": {"Authorization": f"Bearer {key}"}},
    }

    for place, sent in elsewhere.items():
        assert client.get("/vault", **sent).status_code == 401, place


def test_noise_and_a_key_for_production_are_refused_without_a_query(client: TestClient) -> None:
    for text in ("noise", "schlüssel", new_key("development")[0] + "a", new_key("production")[0]):
        with statements(client) as sent:
            response = client.get("/vault", headers={"X-API-Key": text.encode()})  # type: ignore[arg-type]

        assert (response.status_code, sent) == (401, []), text


BREAK: dict[str, Callable[[Program], None]] = {
    "unknown": lambda program: program.headers.update({"X-API-Key": new_key("development")[0]}),
    "noise": lambda program: program.headers.update({"X-API-Key": "noise"}),
    "revoked": revoke,
    "expired": expire,
    "of a disabled owner": disable_owner,
    "another secret with its id": lambda program: change_row(program, key_hash=b"\0" * 32),
}


def test_every_invalid_key_gets_the_same_response(as_program: AsProgram) -> None:
    responses = []
    for invalidate in BREAK.values():
        program = as_program()
        assert program.get("/vault").status_code == 200
        invalidate(program)
        responses.append(program.get("/vault"))

    assert {response.status_code for response in responses} == {401}
    assert {response.headers["www-authenticate"] for response in responses} == {
        'APIKey realm="api", error="invalid_token"'
    }
    assert len({str({**response.json(), "instance": ""}) for response in responses}) == 1


@pytest.mark.slow
def test_the_use_of_an_expired_key_is_one_event_a_minute(as_program: AsProgram, recorded: Recorded) -> None:
    program = as_program()
    expire(program)

    for _ in range(3):
        program.get("/vault")

    found = [fields for fields in recorded if fields["event"] == "api_key_expired_use"]
    assert [(one["outcome"], one["actor"], one["subject"]) for one in found] == [
        ("failure", str(program.id), str(program.key_id))
    ]


def test_neither_the_database_nor_the_log_holds_a_key(as_program: AsProgram, capfd: Capture) -> None:
    program = as_program()
    secret = program.key.rpartition("_")[2]

    program.get("/vault")
    program.get("/nowhere", params={"key": program.key})

    rows, printed = Database(program).rows("SELECT * FROM api_keys"), written(capfd)
    assert (len(rows), "/vault" in printed) == (1, True)
    assert secret[:-6] not in str(rows) + printed


@pytest.mark.slow
def test_twenty_calls_write_the_last_use_once_and_the_first_is_an_event(
    as_program: AsProgram, client: TestClient, recorded: Recorded
) -> None:
    program = as_program()

    with statements(client) as sent:
        statuses = {program.get("/vault").status_code for _ in range(20)}

    assert statuses == {200}
    assert len([statement for statement in sent if statement.startswith("UPDATE api_keys")]) == 1
    found = [fields for fields in recorded if fields["event"] == "api_key_first_use"]
    assert [fields["subject"] for fields in found] == [str(program.key_id)]
