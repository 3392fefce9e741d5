"""API keys: whom they open what for, what they never open, and that a bad one is one bad one like another."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts, known_roles
from app.security.access.credentials import Credentials
from app.security.access.identity import Caller
from app.security.access.policy import InsecureApp
from app.security.keys.key_format import new_key
from tests.security.build_app import assemble
from tests.security.every_route import guarded_calls
from tests.security.fixtures import Database, MakeClient
from tests.security.keys.key_resource import app_with_a_vault, change_row, disable_owner, expire, revoke, statements
from tests.security.keys.programs import Program, issue_key
from tests.security.timing import later

AsProgram = Callable[..., Program]
Recorded = list[dict[str, Any]]


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(known_roles, "ROLES", {"admin", "auditor"})  # whether this project has any or none
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


# What a key opens


def test_a_program_calls_with_its_key_as_its_account(as_program: AsProgram) -> None:
    program = as_program(scope="vault:read", name="billing")

    answer = program.get("/vault")

    assert answer.json() == {"id": str(program.id), "name": "billing", "kind": "service", "roles": []}


def test_a_key_opens_what_its_scopes_say_and_nothing_else(as_program: AsProgram) -> None:
    reader, writer = as_program(scope="vault:read"), as_program(scope="vault:write")

    assert [reader.get("/vault").status_code, reader.put("/vault").status_code] == [200, 403]
    assert [writer.get("/vault").status_code, writer.put("/vault").status_code] == [403, 200]


def test_a_refusal_says_which_scope_is_missing(as_program: AsProgram) -> None:
    answer = as_program(scope="vault:write").get("/vault")

    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('APIKey realm="api", error="insufficient_scope"')
    assert 'scope="vault:read"' in challenge


def test_no_key_of_an_administrator_opens_a_route_that_names_no_scope(
    client: TestClient, as_program: AsProgram
) -> None:
    program = as_program()

    async def appoint(db: AsyncSession) -> None:
        db.add(accounts.AccountRole(account_id=program.id, role="admin"))

    Database(client).run(appoint)
    assert program.get("/vault").json()["roles"] == ["admin"]
    unscoped = [call for call in guarded_calls(client) if not call.policy.scopes]

    assert {(call.method, call.path): call.status(program) for call in unscoped} == {
        (call.method, call.path): 403 for call in unscoped
    }


def test_a_role_that_its_owner_lost_is_lost_to_the_key(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()
    database = Database(client)
    database.run(lambda db: _add_role(db, program))
    before = program.get("/vault").json()["roles"]

    database.rows("DELETE FROM account_roles")

    assert (before, program.get("/vault").json()["roles"]) == (["auditor"], [])


def test_a_role_that_is_none_of_this_project_is_none_of_the_key(client: TestClient, as_program: AsProgram) -> None:
    program = as_program()
    for role in ("auditor", "long_gone"):
        Database(client).run(lambda db, role=role: _add_role(db, program, role))

    assert program.get("/vault").json()["roles"] == ["auditor"]


async def _add_role(db: AsyncSession, program: Program, role: str = "auditor") -> None:
    db.add(accounts.AccountRole(account_id=program.id, role=role))


def test_a_key_is_never_a_recent_log_in(as_program: AsProgram) -> None:
    assert as_program(scope="vault:write").delete("/vault").status_code == 401


def test_where_only_keys_are_known_a_route_without_scope_stops_the_start() -> None:
    app = assemble(lambda app: app.get("/safe")(open_safe))
    credentials: Credentials = app.state.credentials
    credentials.kinds = [kind for kind in credentials.kinds if kind.always_limited]

    with pytest.raises(InsecureApp, match="GET /safe names no scope"), TestClient(app):
        pass


async def open_safe(caller: Caller) -> None: ...


# How a key travels


@pytest.mark.parametrize("place", ["query", "cookie", "bearer", "form"])
def test_a_key_counts_in_its_header_alone(client: TestClient, as_program: AsProgram, place: str) -> None:
    key = as_program().key
    sent: dict[str, Any] = {
        "query": {"params": {"api_key": key, "X-API-Key": key}},
        "cookie": {"headers": {"Cookie": f"X-API-Key={key}"}},
        "bearer": {"headers": {"Authorization": f"Bearer {key}"}},
        "form": {"headers": {"X-Api-Token": key}},
    }[place]

    assert client.get("/vault", **sent).status_code == 401


def test_a_repeated_key_is_refused(as_program: AsProgram, client: TestClient) -> None:
    key = as_program().key

    answer = client.get("/vault", headers=[("X-API-Key", key), ("X-API-Key", key)])

    assert answer.status_code == 400


# Bad keys


def hostile() -> dict[str, bytes]:
    key, _ = new_key("development")
    return {
        "empty": b"",
        "garbage": b"garbage",
        "truncated": key[:-1].encode(),
        "one character changed": (key[:-1] + ("0" if key[-1] != "0" else "1")).encode(),
        "non-ascii": "schlüssel-密".encode(),
        "10 kB": b"a" * 10_000,
        "long and right at its start": key.encode() + b"a" * 5_000,
        "for production": new_key("production")[0].encode(),
    }


@pytest.mark.parametrize("text", hostile().values(), ids=hostile())
def test_noise_is_refused_without_a_query(client: TestClient, text: bytes) -> None:
    with statements(client) as sent:
        answer = client.get("/vault", headers={"X-API-Key": text})  # type: ignore[dict-item]

    assert answer.status_code == 401
    assert sent == []


BREAK: dict[str, Callable[[Program], None]] = {
    "unknown": lambda program: program.headers.update({"X-API-Key": new_key("development")[0]}),
    "noise": lambda program: program.headers.update({"X-API-Key": "noise"}),
    "revoked": revoke,
    "expired": expire,
    "of a disabled owner": disable_owner,
    "another secret under its id": lambda program: change_row(program, key_hash=b"\0" * 32),
}


def test_every_bad_key_is_answered_alike(as_program: AsProgram) -> None:
    answers = []
    for spoil in BREAK.values():
        program = as_program()
        assert program.get("/vault").status_code == 200
        spoil(program)
        answers.append(program.get("/vault"))

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'APIKey realm="api", error="invalid_token"'}
    assert len({str({**answer.json(), "instance": ""}) for answer in answers}) == 1


@pytest.mark.parametrize("spoil", BREAK.values(), ids=BREAK)
def test_a_bad_key_is_refused_quickly(as_program: AsProgram, spoil: Callable[[Program], None]) -> None:
    program = as_program()
    spoil(program)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        program.get("/vault")
        times.append(time.perf_counter() - started)

    assert statistics.median(times) < 0.05


def test_an_expired_key_that_is_used_is_an_event(as_program: AsProgram, recorded: Recorded) -> None:
    program = as_program()
    expire(program)

    program.get("/vault")

    found = [fields for fields in recorded if fields["event"] == "api_key_expired_use"]
    assert [(fields["outcome"], fields["subject"]) for fields in found] == [("failure", str(program.key_id))]


def test_a_key_ends_on_its_day(as_program: AsProgram, client: TestClient) -> None:
    program = as_program()
    program.headers["X-API-Key"] = issue_key(client, program.id, "vault:read", days=2).text

    with later(days=1, hours=23):
        before = program.get("/vault").status_code
    with later(days=2):
        after = program.get("/vault").status_code

    assert (before, after) == (200, 401)
