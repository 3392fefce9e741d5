"""A service with a limit and routes of every kind; import `limited` as a fixture."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from app.security.access.identity import Caller, public, require_scope
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

MakeLimited = Callable[..., TestClient]
NETWORKS = "203.0.113.0/24, 2001:db8::/32"


def add_routes(app: FastAPI) -> None:
    included, nested = APIRouter(prefix="/included"), APIRouter(prefix="/nested")

    @app.get("/direct", dependencies=[public])
    @included.get("/route", dependencies=[public])
    @nested.get("/route", dependencies=[public])
    async def anything(one: int = 0) -> str:
        return "served"

    @app.get("/mine", dependencies=[require_scope("mine:read")])
    async def mine(caller: Caller) -> UUID:
        return caller.id

    @app.get("/slow", dependencies=[public])
    async def slow() -> None:
        await asyncio.sleep(0.6)

    @app.websocket("/socket", dependencies=[public])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    included.include_router(nested)
    app.include_router(included)


@pytest.fixture
def limited(make_client: MakeClient) -> MakeLimited:
    def make(limit: str = "3/minute", **variables: str) -> TestClient:
        variables = {"DEVELOPMENT_NETWORKS": NETWORKS} | variables
        return make_client(build=lambda: assemble(add_routes), RATE_LIMIT=limit, **variables)

    return make
