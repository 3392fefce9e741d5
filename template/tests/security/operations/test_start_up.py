"""What fails the start-up: middleware outside the protections, foreign CORS, overrides and debug in production."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Router
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app.security.access.identity import public
from app.security.access.policy import InsecureApp
from app.security.compose import fastapi_options
from tests.security.build_app import assemble, caller_of, forgotten, plain
from tests.security.fixtures import PRODUCTION_ENVIRONMENT


class Around:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def test_nothing_stands_outside_the_protections(environment: Callable[..., None]) -> None:
    environment()
    app = assemble()
    app.add_middleware(Around)

    with pytest.raises(InsecureApp, match="comes last"), TestClient(app):
        pass


def test_no_route_precedes_the_templates(environment: Callable[..., None]) -> None:
    environment()

    client = caller_of(assemble(lambda app: app.get("/health/live", dependencies=[public])(forgotten)))

    assert client.get("/health/live").json() == {"status": "ok"}


def test_a_layer_of_yours_stands_inside_them(environment: Callable[..., None]) -> None:
    environment()

    client = caller_of(assemble(lambda app: app.add_middleware(Around)))

    assert client.get("/health/live").status_code == 200


def test_a_second_cors_middleware_fails_at_start_up(environment: Callable[..., None]) -> None:
    environment()

    with (
        pytest.raises(InsecureApp, match="a CORSMiddleware of your own: remove it"),
        TestClient(assemble(lambda app: app.add_middleware(CORSMiddleware, allow_origins=["*"]))),
    ):
        pass


def test_production_replaces_no_dependency(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    app = assemble()
    app.dependency_overrides[forgotten] = plain

    with pytest.raises(InsecureApp, match="dependency_overrides"), TestClient(app):
        pass


@pytest.mark.parametrize("path", ["", "/below", "/below/deeper"])
def test_production_shows_no_source_code(environment: Callable[..., None], path: str) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    below = FastAPI(debug=True, **fastapi_options())

    def add(app: FastAPI) -> None:
        app.debug = not path
        routes: list[BaseRoute] = [Mount("/deeper", below)]
        app.mount("/below", Router(routes) if path == "/below/deeper" else below)

    with pytest.raises(InsecureApp, match="debug=True"), TestClient(assemble(add)):
        pass
