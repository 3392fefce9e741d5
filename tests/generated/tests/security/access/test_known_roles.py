"""A role in the database that is none of this project's is nobody's, and somebody is told."""

import json
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.tables import AccountRole
from tests.security.callers import AsCaller, CallerClient
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import Database, MakeClient
from tests.security.sample_resource import app_of_things
from tests.security.terminal import Manage


@pytest.fixture(name="client")
def client_that_asks_each_time(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(accounts, "_warned", set())
    return make_client(build=app_of_things, AUTH_CACHE_SECONDS="0")


def give(client: TestClient, account: UUID, *roles: str) -> None:
    async def add(db: AsyncSession) -> None:
        db.add_all([AccountRole(account_id=account, role=role) for role in roles])

    Database(client).run(add)


def call(caller: CallerClient) -> None:
    assert caller.get("/things").status_code == 200


def test_a_removed_role_is_reported_once(client: TestClient, as_caller: AsCaller, capsys: Capture) -> None:
    caller, other = as_caller(scope="things:read"), as_caller(scope="things:read")
    for one in (caller, other):
        give(client, one.id, "long_gone")
        call(one)
        call(one)

    assert written(capsys).count("'long_gone'") == 1


def test_what_stands_in_the_database_neither_fills_the_log_nor_breaks_its_lines(
    client: TestClient, as_caller: AsCaller, capsys: Capture
) -> None:
    caller = as_caller(scope="things:read")
    give(client, caller.id, "a\nb")
    call(caller)
    give(client, caller.id, *(f"made_up_{number}" for number in range(30)))
    call(caller)

    said = [line for line in written(capsys).splitlines() if "this project does not have" in line]
    assert (len(said), [line for line in said if "has the role '" not in line]) == (accounts.MOST_WARNINGS, [])


def test_doctor_names_the_roles_that_are_left_over(client: TestClient, as_caller: AsCaller, manage: Manage) -> None:
    for caller in (as_caller(), as_caller()):
        give(client, caller.id, "long_gone")
    give(client, caller.id, *sorted(accounts.ROLES))

    hints = json.loads(manage("doctor", "--json").stdout)["hints"]

    assert [hint for hint in hints if "role" in hint] == [
        "the role 'long_gone' in the database (accounts: 2) is none of this project's: it grants nothing until it is"
    ]
