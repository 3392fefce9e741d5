"""Requests find the route that FastAPI would choose, although only those that begin alike are looked at."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public, require_scope
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

OPEN = [public]


def add_paths(app: FastAPI) -> None:
    reports, anything, below = APIRouter(prefix="/reports"), APIRouter(), FastAPI(openapi_url=None)

    def answering(name: str) -> object:
        async def endpoint() -> str:
            return name

        return endpoint

    def add(router: "FastAPI | APIRouter", path: str, name: str, method: str = "GET") -> None:
        router.add_api_route(path, answering(name), methods=[method], dependencies=OPEN)  # type: ignore[arg-type]

    add(app, "/", "root")
    add(app, "/health", "beside ours")
    add(app, "/health/deep", "below the first part of ours")
    add(reports, "", "all reports")
    add(reports, "/last", "last report")
    add(reports, "/{number}", "one report")
    add(app, "/{name}/named", "any first part")
    add(app, "/reports/late", "behind the included one")
    add(app, "/pre{fix}", "part of a first part")
    add(app, "/slash/", "with a slash")
    add(app, "/reports/last", "put", "PUT")
    add(below, "/inside", "mounted")
    add(below, "/{number:int}", "mounted, with a parameter")
    add(anything, "/{whole:path}", "everything else", "POST")
    app.include_router(reports)
    app.mount("/below", below)
    app.mount("/numbers/{number}", below)
    app.include_router(anything)
    add(app, "{whole:path}", "without a slash before", "DELETE")


FOUND = {
    "/": "root",
    "/health": "beside ours",
    "/health/deep": "below the first part of ours",
    "/reports": "all reports",
    "/reports/last": "last report",
    "/reports/7": "one report",
    "/anyone/named": "any first part",
    "/reports/named": "any first part",
    "/health/named": "any first part",
    "/reports/late": "behind the included one",
    "/prefixed": "part of a first part",
    "/slash/": "with a slash",
    "/below/inside": "mounted",
    "/numbers/1/2": "mounted, with a parameter",
}


@pytest.fixture
def ours(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_paths))


@pytest.fixture(scope="module")
def plain() -> TestClient:
    """The same routes in an app without any protection."""
    app = FastAPI()
    app.add_api_route("/health/live", lambda: "live")
    add_paths(app)
    return TestClient(app, base_url="http://localhost")


@pytest.mark.parametrize("path", FOUND)
def test_the_right_route_answers(ours: TestClient, path: str) -> None:
    assert ours.get(path).json() == FOUND[path]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", [*FOUND, "/slash", "/nowhere", "/reports/", "/health/live", "/{name}", "/*", "//reports", "/x/y"]
)
def test_it_is_the_one_that_fastapi_would_choose(ours: TestClient, plain: TestClient, method: str, path: str) -> None:
    here, there = (client.request(method, path) for client in (ours, plain))

    assert here.status_code == there.status_code
    if there.is_success and path != "/health/live":
        assert here.json() == there.json()


def test_what_is_not_there_in_a_mounted_router_is_an_ordinary_request(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(build=lambda: assemble(lambda app: app.mount("/below", APIRouter())))
    recorded.clear()

    assert client.get("/below/nowhere").status_code == 404
    assert [(fields["route"], fields["status"]) for fields in recorded] == [(None, 404)]


def test_files_behind_a_guard_are_not_answered_by_files_that_are_open(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "admin").mkdir()
    for name in ("index.html", "admin/index.html"):
        (tmp_path / name).write_text("a page")

    def build() -> FastAPI:
        def add(app: FastAPI) -> None:
            admin = APIRouter(dependencies=[require_scope("pages:read")])
            admin.get("/reports/x")(some_report)
            admin.frontend("/admin", directory=str(tmp_path / "admin"))
            app.include_router(admin)
            app.frontend("/", directory=str(tmp_path))

        return assemble(add, public=["/"])

    client = make_client(build=build)

    paths = ("/admin/index.html", "/reports/x", "/index.html")
    assert [client.get(path).status_code for path in paths] == [401, 401, 200]


async def some_report() -> None: ...
