"""A role in the database that is none of this project's is nobody's, and `manage doctor` tells."""

import json
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.tables import AccountRole
from tests.security.callers import AsCaller
from tests.security.fixtures import Database
from tests.security.terminal import Manage


def give(client: TestClient, account: UUID, *roles: str) -> None:
    async def add(db: AsyncSession) -> None:
        db.add_all([AccountRole(account_id=account, role=role) for role in roles])

    Database(client).run(add)


def test_doctor_names_the_roles_that_are_left_over(client: TestClient, as_caller: AsCaller, manage: Manage) -> None:
    for caller in (as_caller(), as_caller()):
        give(client, caller.id, "long_gone")
    give(client, caller.id, *sorted(accounts.ROLES))

    hints = json.loads(manage("doctor", "--json").stdout)["hints"]

    assert [hint for hint in hints if "role" in hint] == [
        "the role 'long_gone' in the database (accounts: 2) is none of this project's: it grants nothing until it is"
    ]
