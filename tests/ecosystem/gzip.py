"""Starlette's `GZipMiddleware` | as is | added before `secure(app)`"""

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from app.security.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

PACKAGES: list[str] = []


async def long() -> str:
    return "x" * 10_000


def add(app: FastAPI) -> None:
    app.get("/long", dependencies=[public])(long)
    app.add_middleware(GZipMiddleware)


def test_a_long_response_is_compressed(make_client: MakeClient) -> None:
    response = make_client(build=lambda: assemble(add)).get("/long", headers={"Accept-Encoding": "gzip"})

    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert len(response.json()) == 10_000
