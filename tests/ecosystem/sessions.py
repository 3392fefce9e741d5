"""Starlette's `SessionMiddleware` | as is | added before `secure(app)`, with `https_only=True` and a secret of its
own; its cookie is no credential of this service
"""

from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request

from app.security.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

PACKAGES = ["itsdangerous"]


async def visit(request: Request) -> int:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return int(request.session["visits"])


def add(app: FastAPI) -> None:
    app.get("/visits", dependencies=[public])(visit)
    app.add_middleware(SessionMiddleware, secret_key="x" * 32)


def test_visits_are_counted(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add))

    assert [client.get("/visits").json() for _ in range(3)] == [1, 2, 3]
