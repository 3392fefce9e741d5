"""arq | as is | brings `redis` below 6, which works here; a job opens its own transaction with `Database.begin()`"""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker
from limits import parse
from sqlalchemy import text

from app.database import Database
from app.security.limits.counters import Counters

PACKAGES = ["arq", "redis<6"]


async def start(context: dict[str, Any]) -> None:
    context["database"] = Database()


async def end(context: dict[str, Any]) -> None:
    await context["database"].close()


async def count_accounts(context: dict[str, Any]) -> int:
    async with context["database"].begin() as db:
        return int(await db.scalar(text("SELECT count(*) FROM accounts")) or 0)


def test_a_job_reads_the_database_and_limits_count_in_the_same_redis(
    environment: Callable[..., None], tmp_path: Path
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
        assert asyncio.run(use(port)) == 0
    finally:
        server.kill()
        server.wait()


async def use(port: int) -> int:
    counters = Counters(f"redis://127.0.0.1:{port}/0", 1)
    assert [(await counters.hit(parse("2/minute"), "a"))[0] > 0 for _ in range(3)] == [False, False, True]
    assert not counters.redis_is_down
    await counters.close()
    pool = await create_pool(RedisSettings(port=port))
    job = await pool.enqueue_job("count_accounts")
    assert job is not None
    worker = Worker([count_accounts], redis_pool=pool, burst=True, on_startup=start, on_shutdown=end)
    await worker.main()
    return int(await job.result(timeout=5))
