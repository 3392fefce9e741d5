"""Every logger writes lines of one form, in which credentials are redacted."""

import json
import logging
import tomllib
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.core.settings import ROOT
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient
from tests.security.sample_resource import app_of_things


def add_routes(app: FastAPI) -> None:
    @app.get("/open", dependencies=[public])
    async def anyone() -> None: ...


@pytest.fixture(params=["production", "development"])
def client(request: pytest.FixtureRequest, make_client: MakeClient, environment: Callable[..., None]) -> TestClient:
    production = request.param == "production"
    environment(**PRODUCTION_ENVIRONMENT if production else {})
    return make_client(assemble(add_routes), production=production)


def test_no_credential_is_written_down(make_client: MakeClient, as_caller: AsCaller, capsys: Capture) -> None:
    caller = as_caller(client=make_client(build=app_of_things))
    sent = caller.headers.get("Authorization", "").removeprefix("Bearer ") or caller.headers["X-API-Key"]

    caller.get("/things", params={"key": sent})
    caller.get(f"/{sent}")

    assert sent not in written(capsys)


def test_in_production_every_line_is_one_json_object(make_client: MakeClient, capsys: Capture) -> None:
    client = make_client(assemble_in_production(make_client), production=True)
    written(capsys)

    client.get("/open")
    logging.getLogger("some.library").warning("two\nlines")

    lines = [json.loads(line) for line in written(capsys).splitlines()]
    assert [line["event"] for line in lines] == ["request", "log"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert lines[0]["app_version"] == version


def assemble_in_production(make_client: MakeClient) -> FastAPI:
    return make_client(build=lambda: assemble(add_routes), production=True).app  # type: ignore[return-value]
