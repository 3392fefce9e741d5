"""A sample resource for tests of API keys, and ways to change a key behind the app."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from sqlalchemy import event, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.access.identity import Caller, require_scope
from app.security.core.tables import Account, ApiKey, utc_now
from tests.security.build_app import assemble
from tests.security.fixtures import Database
from tests.security.programs import Program

vault = APIRouter(prefix="/vault")


@vault.get("", dependencies=[require_scope("vault:read")])
async def read(caller: Caller) -> dict[str, Any]:
    return {"id": caller.id, "name": caller.name, "kind": caller.kind, "roles": sorted(caller.roles)}


@vault.put("", dependencies=[require_scope("vault:write")])
async def write(caller: Caller) -> None: ...


def app_with_a_vault() -> FastAPI:
    return assemble(lambda app: app.include_router(vault))


@contextmanager
def statements(client: TestClient) -> Iterator[list[str]]:
    """Every statement about keys that the app sends meanwhile; the audit log writes once a second."""
    found: list[str] = []
    engine = client.app.state.database.engine.sync_engine  # type: ignore[attr-defined]

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        found.extend([statement] if "api_keys" in statement else [])

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def change_row(program: Program, **values: object) -> None:
    async def change(db: AsyncSession) -> None:
        await db.execute(update(ApiKey).where(ApiKey.id == program.key_id).values(**values))

    Database(program).run(change)


def disable_owner(program: Program) -> None:
    async def disable(db: AsyncSession) -> None:
        await accounts.set_active(db, await db.get_one(Account, program.id), False)

    Database(program).run(disable)


def revoke(program: Program) -> None:
    change_row(program, revoked_at=utc_now())


def expire(program: Program) -> None:
    change_row(program, expires_at=utc_now())
