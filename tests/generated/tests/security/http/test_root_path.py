"""Below a path of its own (`uvicorn --root-path`, or mounted in another app) all holds that holds at the root."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.admission.request_guard import accepts, deadline
from app.security.compose import fastapi_options
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

ROOT_PATH = "/api"
CSV = {"content": b"x", "headers": {"Content-Type": "text/csv"}}
Below = Callable[..., TestClient]


async def nothing() -> None: ...


async def slow() -> None:
    await asyncio.sleep(0.6)


async def search(limit: int = 0) -> int:
    return limit


def add_paths(app: FastAPI) -> None:
    mounted = FastAPI(**fastapi_options())
    for path in ("/inside", "/inside/again"):
        mounted.get(path, dependencies=[public])(search)
    mounted.delete("/inside", dependencies=[public])(nothing)
    app.post("/upload", dependencies=[public, accepts("text/csv")])(nothing)
    app.put("/upload", dependencies=[public])(nothing)
    app.get("/patient", dependencies=[public, deadline(None)])(slow)
    app.get("/search", dependencies=[public])(search)
    app.mount("/mounted", mounted)


@pytest.fixture(params=["by the server", "in another app"])
def below(request: pytest.FixtureRequest, make_client: MakeClient) -> Below:
    """A client of the app, which lies below ROOT_PATH; it asks for the paths that the app names."""

    def make(host: str = "http://localhost", **options: Any) -> TestClient:
        app: Any = make_client(build=lambda: assemble(add_paths), RESPONSE_SECONDS="0.3", **options).app
        by_the_server = request.param == "by the server"
        served = app if by_the_server else Starlette(routes=[Mount(ROOT_PATH, app)])
        root_path = ROOT_PATH if by_the_server else ""
        client = TestClient(served, host + ROOT_PATH, raise_server_exceptions=False, root_path=root_path)
        client.portal = app.state.test_client.portal
        return client

    return make


def test_a_route_has_what_it_was_allowed_beyond_the_rest(below: Below) -> None:
    client = below()

    assert client.post("/upload", **CSV).status_code == 200  # type: ignore[arg-type]
    assert client.put("/upload", **CSV).status_code == 415  # type: ignore[arg-type]
    assert client.get("/patient").status_code == 200


@pytest.mark.parametrize("path", ["/search", "/mounted/inside"])
def test_a_parameter_that_stands_once_is_not_repeated(below: Below, path: str) -> None:
    assert below().get(f"{path}?limit=1&limit=2").status_code == 422


@pytest.mark.parametrize(("path", "methods"), [("/upload", "POST, PUT"), ("/mounted/inside", "DELETE, GET, HEAD")])
def test_a_refusal_names_every_method_of_the_path(below: Below, path: str, methods: str) -> None:
    answer = below().patch(path)

    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_events_name_the_route(below: Below, recorded: list[dict[str, Any]]) -> None:
    client = below()

    for path in ("/search", "/mounted/inside", "/mounted/inside/again", "/health/live"):
        assert client.get(path).status_code == 200

    routes = [event["route"] for event in recorded if event["event"] == "request"]
    assert routes == ["/search", "/mounted/inside", "/mounted/inside/again", "/health/live"]


def test_health_needs_neither_host_name_nor_https_and_liveness_needs_no_slot(below: Below) -> None:
    client = below("http://10.1.2.3", production=True, RATE_LIMIT="2/minute")

    assert client.get("/health/ready").status_code == 200
    assert {client.get("/health/live").status_code for _ in range(5)} == {200}


def test_a_path_that_the_caller_wrote_is_no_script(make_client: MakeClient) -> None:
    app = make_client(build=assemble).app
    client = TestClient(Starlette(routes=[Mount("/{tenant}", app)]), base_url="http://localhost")

    page = client.get("/x',own:alert(1),'\"><b>/docs")

    assert page.status_code == 200
    assert "alert%281%29" in page.text
    assert "alert(1)" not in page.text
    assert "<b>" not in page.text


def test_the_documents_lead_to_one_another_and_to_the_service(below: Below) -> None:
    client = below()
    page, document = client.get("/docs").text, client.get("/openapi.json").json()

    found = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r"url: '([^']+)'", page)

    assert len(found) == 4
    assert {client.get(f"http://localhost{path}").status_code for path in found} == {200}
    assert document["servers"] == [{"url": ROOT_PATH}]
