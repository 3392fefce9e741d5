"""Readiness and the log while the server stops, the database cannot write, or a clock is off."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import DbSession
from app.security.access.identity import public
from app.security.operations import serve, start_up
from tests.security.build_app import assemble
from tests.security.fixtures import POSTGRES, MakeClient


def app_with_writes() -> FastAPI:
    """One route whose write is refused by the database, and one whose statement is wrong."""
    before, after = (
        ("SET TRANSACTION READ ONLY", "") if POSTGRES else ("PRAGMA query_only = 1", "PRAGMA query_only = 0")
    )

    def add(app: FastAPI) -> None:
        @app.post("/broken", dependencies=[public])
        async def fail(db: DbSession) -> None:
            await db.execute(text(before))
            try:
                await db.execute(text("UPDATE accounts SET token_version = 0"))
            finally:
                if after:
                    await db.execute(text(after))

        @app.post("/wrong", dependencies=[public])
        async def mistake(db: DbSession) -> None:
            await db.execute(text("SELECT no_such_column FROM accounts"))

    return assemble(add)


def test_a_database_that_cannot_write_is_named_and_not_ready_for_a_while(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(start_up, "CACHED_SECONDS", 0)
    monkeypatch.setattr(start_up, "UNWRITABLE_SECONDS", 1)
    client = make_client(build=app_with_writes)
    client.post("/wrong")
    before = client.get("/health/ready").status_code

    statuses = [client.post("/broken").status_code for _ in range(2)]
    ready, live = client.get("/health/ready").status_code, client.get("/health/live").status_code

    assert (before, statuses, ready, live) == (200, [503, 503], 503, 200)
    assert len([one for one in caplog.messages if "its disk is full" in one]) == 1
    asyncio.run(asyncio.sleep(1.1))
    assert client.get("/health/ready").status_code == 200


def test_while_it_drains_it_is_not_ready_and_serves_each_connection_once(make_client: MakeClient) -> None:
    client = make_client()
    before = client.get("/health/live")
    client.app.state.readiness.draining = True  # type: ignore[attr-defined]

    ready, live = client.get("/health/ready"), client.get("/health/live")

    assert "connection" not in before.headers
    assert (ready.status_code, ready.headers["connection"]) == (503, "close")
    assert (live.status_code, live.headers["connection"]) == (200, "close")


def test_sigterm_reaches_the_server_after_the_drain(make_client: MakeClient) -> None:
    app = make_client(production=True, SHUTDOWN_DRAIN_SECONDS="0.5").app
    stopped: list[int] = []

    async def stop() -> list[tuple[bool, int]]:
        for hook in app.state.hooks.at_start:
            if hook.__module__ == serve.__name__:
                await hook(app)
        seen = []
        for pause in (0.1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(pause)
            seen.append((app.state.readiness.draining, len(stopped)))  # type: ignore[attr-defined]
        return seen

    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    try:
        assert asyncio.run(stop()) == [(True, 0), (True, 1)]
    finally:
        signal.signal(signal.SIGTERM, before)


class ServerWithAClock:
    """As much of a connection to PostgreSQL as the comparison of clocks uses."""

    def __init__(self, seconds: float) -> None:
        self.dialect = type("Dialect", (), {"name": "postgresql"})
        self.seconds = seconds

    async def scalar(self, statement: Any) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


@pytest.mark.parametrize(("seconds", "named"), [(300, "-300 s"), (-300, "+300 s"), (12, "-12 s"), (8, ""), (-8, "")])
def test_a_clock_that_is_further_off_than_the_leeway_of_tokens_is_named(seconds: float, named: str) -> None:
    connection = cast(AsyncConnection, ServerWithAClock(seconds))

    found = asyncio.run(start_up.clock_problems(connection))

    assert len(found) == bool(named)
    assert named in "".join(found)


@pytest.mark.parametrize("away", [0, 300])
def test_another_clock_is_one_line_in_the_log_and_stays_ready(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, away: float
) -> None:
    async def problems(connection: object) -> list[str]:
        return await compare(cast(AsyncConnection, ServerWithAClock(away)))

    compare = start_up.clock_problems
    monkeypatch.setattr(start_up, "CACHED_SECONDS", 0)
    monkeypatch.setattr(start_up, "clock_problems", problems)
    client = make_client()

    assert [client.get("/health/ready").status_code for _ in range(3)] == [200] * 3
    assert len([one for one in caplog.messages if "the clock of this machine is -300 s off" in one]) == bool(away)
