"""An app that is mounted below ours keeps what ours promises: its form of errors, and no redirects."""

from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.compose import fastapi_options, secure
from tests.security.build_app import caller_of, forgotten, plain

CANARY = "canary-51d0"


async def crashing(request: Request) -> Response:
    raise RuntimeError(CANARY)


@pytest.fixture
def client(environment: Callable[..., None]) -> TestClient:
    """An app, and below it one made without our options, and other kinds of apps."""
    environment()
    app, router = FastAPI(**fastapi_options()), APIRouter()
    below = FastAPI(openapi_url=None)
    starlette = Starlette(routes=[Route("/things", plain), Route("/crashing", crashing)])
    for table in (app, router, below):
        table.get("/things", dependencies=[public])(forgotten)
    below.mount("/deeper", router)
    app.mount("/below", below)
    app.mount("/starlette", starlette)
    secure(app, public=["/starlette"])
    return caller_of(app)


@pytest.mark.parametrize("path", ["/things", "/below/things", "/below/deeper/things", "/starlette/things"])
def test_a_path_with_another_slash_is_another_path(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200
    assert client.get(f"{path}/", follow_redirects=False).status_code == 404


@pytest.mark.parametrize(("path", "status"), [("/starlette/nothing", 404), ("/starlette/crashing", 500)])
def test_an_app_of_starlette_answers_errors_in_our_form(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert CANARY not in answer.text
