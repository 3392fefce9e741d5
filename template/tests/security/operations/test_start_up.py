"""What stands around the app, and what is added to it after the start."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app.security.access.identity import public
from app.security.access.policy import InsecureApp
from app.security.compose import fastapi_options
from tests.security.build_app import Add, assemble, caller_of, forgotten, plain, some_folder
from tests.security.fixtures import PRODUCTION_ENVIRONMENT

ADDED_LATER: list[Add] = [
    lambda app: app.get("/late")(forgotten),
    lambda app: app.include_router(APIRouter()),
    lambda app: app.mount("/late", FastAPI()),
    lambda app: app.add_route("/late", plain),
    lambda app: app.frontend("/late", directory=some_folder()),
]


@pytest.mark.parametrize("add", ADDED_LATER)
def test_no_route_is_added_after_the_start(environment: Callable[..., None], add: Add) -> None:
    environment()
    app = assemble()

    with TestClient(app, base_url="http://localhost") as client:
        with pytest.raises(InsecureApp):
            add(app)
        assert client.get("/late").status_code == 404


def test_no_route_is_added_to_a_router_or_an_app_below_after_the_start(environment: Callable[..., None]) -> None:
    environment()
    router, below = APIRouter(), FastAPI(**fastapi_options())
    router.get("/open", dependencies=[public])(forgotten)

    def add(app: FastAPI) -> None:
        app.include_router(router)
        app.mount("/below", below)

    with TestClient(assemble(add), base_url="http://localhost"):
        for late in (router, below):
            with pytest.raises(InsecureApp, match="/late"):
                late.get("/late")(forgotten)


def test_a_replaced_route_table_is_not_served(environment: Callable[..., None]) -> None:
    environment()
    app = assemble()

    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        app.router.routes = [Route("/late", plain)]
        assert client.get("/late").status_code == 500


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


def test_no_route_stands_in_front_of_ours(environment: Callable[..., None]) -> None:
    environment()

    client = caller_of(assemble(lambda app: app.get("/health/live", dependencies=[public])(forgotten)))

    assert client.get("/health/live").json() == {"status": "ok"}


def test_a_layer_of_yours_stands_inside_them(environment: Callable[..., None]) -> None:
    environment()

    client = caller_of(assemble(lambda app: app.add_middleware(Around)))

    assert client.get("/health/live").status_code == 200


def test_there_is_no_cors_layer_beside_ours(environment: Callable[..., None]) -> None:
    environment()

    with (
        pytest.raises(InsecureApp, match="cors_origins"),
        TestClient(assemble(lambda app: app.add_middleware(CORSMiddleware, allow_origins=["*"]))),
    ):
        pass


def with_cors(app: Any) -> CORSMiddleware:
    return CORSMiddleware(app, allow_origins=["*"])


def test_a_function_that_makes_a_cors_layer_is_seen_too(environment: Callable[..., None]) -> None:
    environment()

    with (
        pytest.raises(InsecureApp, match="cors_origins"),
        TestClient(assemble(lambda app: app.add_middleware(with_cors))),
    ):
        pass


def test_no_app_below_has_a_cors_layer(environment: Callable[..., None]) -> None:
    environment()
    below = FastAPI(**fastapi_options())
    below.add_middleware(CORSMiddleware, allow_origins=["*"])

    with (
        pytest.raises(InsecureApp, match="cors_origins"),
        TestClient(assemble(lambda app: app.mount("/below", below))),
    ):
        pass


def test_production_replaces_no_dependency_of_a_running_app(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    below = FastAPI(**fastapi_options())
    client = caller_of(assemble(lambda app: app.mount("/below", below)))
    assert client.get("/health/live").status_code == 200

    below.dependency_overrides[forgotten] = plain

    assert client.get("/health/live").status_code == 500


def test_production_replaces_no_dependency(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    app = assemble()
    app.dependency_overrides[forgotten] = plain

    with pytest.raises(InsecureApp, match="dependency_overrides"), TestClient(app):
        pass


def test_production_replaces_no_dependency_of_a_mounted_app(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    below = FastAPI(**fastapi_options())
    below.dependency_overrides[forgotten] = plain

    with (
        pytest.raises(InsecureApp, match="dependency_overrides"),
        TestClient(assemble(lambda app: app.mount("/below", below))),
    ):
        pass


@pytest.mark.parametrize("mounted", [False, True])
def test_production_shows_nobody_its_code(environment: Callable[..., None], mounted: bool) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    below = FastAPI(debug=True, **fastapi_options())

    def add(app: FastAPI) -> None:
        app.debug = not mounted
        if mounted:
            app.mount("/below", below)

    with pytest.raises(InsecureApp, match="debug=True"), TestClient(assemble(add)):
        pass


def test_the_last_resort_of_routing_is_not_replaced_after_the_start(environment: Callable[..., None]) -> None:
    environment()
    app = assemble()
    client = caller_of(app)
    assert client.get("/nothing").status_code == 404

    app.router.default = plain

    assert client.get("/nothing").status_code == 500
