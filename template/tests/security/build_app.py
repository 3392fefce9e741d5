"""Build an app for a test; endpoints that a test leaves unprotected on purpose."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from app.security.compose import fastapi_options, secure

Add = Callable[[FastAPI], object]


async def forgotten() -> str:
    return "open to all"


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("open to all")


def some_folder() -> str:
    return str(Path(__file__).parent)


def assemble(add: Add = lambda app: None, **options: Any) -> FastAPI:
    app = FastAPI(**fastapi_options())
    add(app)
    secure(app, **options)
    return app


def caller_of(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
