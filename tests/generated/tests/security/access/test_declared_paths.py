"""Paths that `secure(app, public=…, guarded=…)` declares: plain routes, mounts, and what static files normalise."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from app.security.access.identity import require_scope
from app.security.access.policy import InsecureApp
from app.security.operations.start_up import check_app
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask, nothing_more

CALLER = [require_scope("files:read")]


class Report(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("secret")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "admin").mkdir()
    for name in ("index.html", "admin/secret.html"):
        (tmp_path / name).write_text("secret")
    return tmp_path


def test_a_class_behind_a_plain_route_requires_what_is_declared_for_its_path(
    make_client: MakeClient, files: Path
) -> None:
    def add(app: FastAPI) -> None:
        app.add_route("/report", Report)
        app.mount("/", StaticFiles(directory=files, html=True))

    client = make_client(build=lambda: assemble(add, public=["/"], guarded={"/report": CALLER}))

    assert client.get("/index.html").status_code == 200
    assert client.get("/report").status_code == 401


PATHS = ["//admin/secret.html", "/x/../admin/secret.html", "/./admin/secret.html", "/x\\..\\admin", "/admin/.."]


def test_a_path_that_static_files_would_normalise_is_refused(make_client: MakeClient, files: Path) -> None:
    def add(app: FastAPI) -> None:
        app.mount("/admin", StaticFiles(directory=files / "admin"))
        app.mount("/", StaticFiles(directory=files, html=True))

    client = make_client(build=lambda: assemble(add, public=["/"], guarded={"/admin": CALLER}))

    assert client.portal is not None
    assert client.get("/admin/secret.html").status_code == 401
    for path in PATHS:
        assert client.portal.call(ask, client, path, nothing_more, "GET") == 400, path


def test_a_declaration_that_an_earlier_mount_hides_fails_at_start_up(make_client: MakeClient, files: Path) -> None:
    make_client()

    app = assemble(lambda app: app.mount("/", StaticFiles(directory=files)), public=["/"], guarded={"/admin": CALLER})

    with pytest.raises(InsecureApp, match=r"/admin is guarded, but \* / responds first"):
        check_app(app)


def test_of_two_frontends_the_longer_path_is_compared_first(make_client: MakeClient, files: Path) -> None:
    def add(app: FastAPI) -> None:
        app.frontend("/app", directory=files)
        app.frontend("/app/admin", directory=files / "admin")

    client = make_client(build=lambda: assemble(add, public=["/app"], guarded={"/app/admin": CALLER}))

    assert client.get("/app/index.html").status_code == 200
    assert client.get("/app/admin/secret.html").status_code == 401
