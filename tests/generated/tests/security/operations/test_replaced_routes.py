"""A route of the owner's with the method and path of one of the template's is named: it is not called."""

import logging
from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI

from app.security.identity import public
from tests.security.build_app import assemble, forgotten
from tests.security.fixtures import MakeClient
from tests.security.terminal import Manage


def add_route(path: str) -> Callable[[FastAPI], None]:
    def add(app: FastAPI) -> None:
        router = APIRouter()
        router.get(path, dependencies=[public])(forgotten)
        app.include_router(router)

    return add


@pytest.mark.parametrize(
    ("path", "named"),
    [("/health/live", True), ("/health/{part}", False), ("/{page:path}", False), ("/health/lively", False)],
)
def test_a_route_that_the_template_has_is_named(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, named: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        client = make_client(build=lambda: assemble(add_route(path)))

    assert client.get("/health/live").json() == {"status": "ok"}
    assert (f"the template answers GET {path}: give your route another path" in caplog.text) is named
    assert ("the template answers" in caplog.text) is named


def test_doctor_names_it_after_an_update(manage: Manage) -> None:
    result = manage("doctor", load=lambda: assemble(add_route("/health/live")))

    assert "Problem: the template answers GET /health/live: give your route another path" in result.stdout
    assert result.exit_code == 1
