"""Jinja2Templates and StaticFiles | one line | `secure(app, public={"/static": []})`, and
`content_security_policy("default-src 'self'")` on the routes of pages: see [pages](how-to/pages.md)
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.requests import Request

from app.security.identity import public
from app.security.request_guard import content_security_policy
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

PACKAGES = ["jinja2"]
PAGE = "<link rel=\"stylesheet\" href=\"{{ url_for('static', path='style.css') }}\"><p>Hello, {{ name }}</p>"


def test_a_page_and_its_style_are_served(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("p { color: green }")
    (tmp_path / "page.html").write_text(PAGE)
    templates = Jinja2Templates(tmp_path)

    def page(request: Request, name: str) -> HTMLResponse:
        return templates.TemplateResponse(request, "page.html", {"name": name})

    def add(app: FastAPI) -> None:
        app.get("/page", dependencies=[public, content_security_policy("default-src 'self'")])(page)
        app.mount("/static", StaticFiles(directory=tmp_path), name="static")

    client = make_client(build=lambda: assemble(add, public={"/static": []}))

    response = client.get("/page", params={"name": "<script>"})
    assert "Hello, &lt;script&gt;" in response.text
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert client.get("/static/style.css").status_code == 200
