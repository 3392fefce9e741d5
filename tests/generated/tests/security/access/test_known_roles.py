"""A role in the database that is none of this project's is nobody's."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.core.tables import AccountRole
from tests.security.fixtures import Database


def give(client: TestClient, account: UUID, *roles: str) -> None:
    async def add(db: AsyncSession) -> None:
        db.add_all([AccountRole(account_id=account, role=role) for role in roles])

    Database(client).run(add)

