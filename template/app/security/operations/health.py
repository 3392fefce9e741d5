"""Health routes: liveness and readiness, without any detail (ASVS 5.0 V13.4.5)."""

import asyncio
import time
from typing import Literal

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import text

from app.database import Database
from app.security.access.identity import public
from app.security.core.problems import Problem

CACHED_SECONDS = 1.0

router = APIRouter(prefix="/health", tags=["health"], dependencies=[public])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness:
    """Queries the database at most once a second, and once at a time, for any number of requests."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._checked = -CACHED_SECONDS
        self._ready = False

    async def ready(self) -> bool:
        async with self._lock:
            if time.monotonic() - self._checked >= CACHED_SECONDS:
                self._ready = await self._query()
                self._checked = time.monotonic()
            return self._ready

    async def _query(self) -> bool:
        try:
            async with asyncio.timeout(2), self._database.read() as connection:
                await connection.execute(text("SELECT 1 FROM accounts WHERE 1 = 0"))
        except Exception:  # any error means: not ready
            return False
        return True


@router.get("/live")
async def live() -> Health:
    return Health()


@router.get("/ready")
async def ready(request: Request) -> Health:
    if not await request.state.readiness.ready():
        raise Problem(503, detail="Not ready.", headers={"Retry-After": "1"})
    return Health()


def install(app: FastAPI) -> None:
    app.state.readiness = Readiness(app.state.database)
    app.routes.extend(router.routes)
