"""Pages of a route or a mount: a Content-Security-Policy that allows them more, and no other response."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from app.security.http.headers import HEADERS
from app.security.identity import public
from app.security.request_guard import content_security_policy
from tests.security.build_app import assemble, forgotten
from tests.security.fixtures import MakeClient

OWN = "default-src 'self'; form-action 'self'"
STRICT = HEADERS["Content-Security-Policy"]
MERGED = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"


def policy(client: TestClient, path: str) -> str:
    response = client.get(path)
    assert response.status_code < 400, path
    return ", ".join(response.headers.get_list("content-security-policy"))


def test_a_route_or_a_mount_declares_what_its_pages_may_load(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>Hello</h1>")

    def add(app: FastAPI) -> None:
        app.get("/page", dependencies=[public, content_security_policy(OWN)])(forgotten)
        app.get("/data", dependencies=[public])(forgotten)
        app.mount("/pages", StaticFiles(directory=tmp_path, html=True))

    client = make_client(build=lambda: assemble(add, public={"/pages": [content_security_policy(OWN)]}))

    assert [policy(client, path) for path in ("/page", "/pages/", "/data")] == [MERGED, MERGED, STRICT]


def test_a_response_that_has_a_policy_of_its_own_keeps_it(make_client: MakeClient) -> None:
    async def page() -> HTMLResponse:
        return HTMLResponse("", headers={"Content-Security-Policy": "sandbox"})

    def add(app: FastAPI) -> None:
        app.get("/page", dependencies=[public, content_security_policy(OWN)], response_model=None)(page)

    assert policy(make_client(build=lambda: assemble(add)), "/page") == "sandbox"
