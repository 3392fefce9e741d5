"""Programs for tests: `as_program("things:read")` makes a service account with a key, and calls with it."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.keys import store as key_store
from app.security.keys.store import NewKey
from tests.security.callers import CallerClient, client_from
from tests.security.fixtures import Database

_numbers = count(1)


class Program(CallerClient):
    """A client that sends a key of its account."""

    key_id: UUID
    key: str


def issue_key(client: TestClient, account: UUID, *scopes: str, days: int = 90) -> NewKey:
    """A key of an account, without going over HTTP."""

    async def issue(db: AsyncSession) -> NewKey:
        return await key_store.issue(db, account, "test", scopes, timedelta(days=days))

    return Database(client).run(issue)


def call_with_key(base: TestClient, account: UUID, name: str, *scopes: str) -> Program:
    """A client that calls the same app with a new key of this account; without scopes named, with all of them."""
    known = base.app.state.policies.scopes()  # type: ignore[attr-defined]
    program = client_from(base, Program)
    made = issue_key(base, account, *(scopes or known))
    program.name, program.id, program.key_id, program.key = name, account, made.row.id, made.text
    program.headers["X-API-Key"] = made.text
    return program


@pytest.fixture
def as_program(request: pytest.FixtureRequest) -> Callable[..., Program]:
    """Make a service account and call with a key of it: `as_program()`, `as_program(scope="a:read b:read")`."""

    def make(*, scope: str = "", name: str | None = None, client: TestClient | None = None) -> Program:
        base = client if client is not None else request.getfixturevalue("client")
        owner = name or f"service{next(_numbers)}"

        async def create(db: AsyncSession) -> UUID:
            return (await accounts.create(db, owner, kind="service")).id

        return call_with_key(base, Database(base).run(create), owner, *scope.split())

    return make
