"""taskiq | one line | `ListQueueBroker(url, socket_timeout=None)` of taskiq-redis, or with `redis` 8 a worker that
waits fails every 5 seconds; a task opens its own transaction with `Database.begin()`, and has no caller
"""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from taskiq import AsyncBroker, InMemoryBroker
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from app.database import Database

PACKAGES = ["taskiq", "taskiq-redis", "redis>=8,<9"]


async def count_accounts() -> int:
    database = Database()
    async with database.begin() as db:
        count = await db.scalar(text("SELECT count(*) FROM accounts"))
    await database.close()
    return int(count or 0)


async def result_of(broker: AsyncBroker) -> int:
    task = broker.register_task(count_accounts, "count_accounts")
    result = await (await task.kiq()).wait_result(timeout=10)
    return int(result.return_value)


def test_a_task_reads_the_database(environment: Callable[..., None]) -> None:
    async def run() -> int:
        broker = InMemoryBroker()
        await broker.startup()
        return await result_of(broker)

    assert asyncio.run(run()) == 0


def test_a_worker_waits_for_longer_than_redis_by_default(
    environment: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], cwd=tmp_path)
    try:
        time.sleep(1)
        assert asyncio.run(work_after_a_pause(f"redis://127.0.0.1:{port}")) == 0
        assert "Exception found while listening" not in caplog.text
    finally:
        server.kill()
        server.wait()


async def work_after_a_pause(url: str) -> int:
    broker = ListQueueBroker(url, socket_timeout=None).with_result_backend(RedisAsyncResultBackend(url))
    worker = asyncio.create_task(run_receiver_task(broker, run_startup=True))
    await asyncio.sleep(6)
    counted = await result_of(broker)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await broker.shutdown()
    return counted
