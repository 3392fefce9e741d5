"""taskiq | as is | a task opens its own transaction with `Database.begin()`; it has no caller"""

import asyncio
from collections.abc import Callable

from sqlalchemy import text
from taskiq import InMemoryBroker

from app.database import Database

PACKAGES = ["taskiq"]
broker = InMemoryBroker()


@broker.task
async def count_accounts() -> int:
    database = Database()
    async with database.begin() as db:
        count = await db.scalar(text("SELECT count(*) FROM accounts"))
    await database.close()
    return int(count or 0)


def test_a_task_reads_the_database(environment: Callable[..., None]) -> None:
    async def run() -> int:
        await broker.startup()
        result = await (await count_accounts.kiq()).wait_result(timeout=10)
        return int(result.return_value)

    assert asyncio.run(run()) == 0
