"""The OpenAPI document, and Swagger UI without a CDN, under a strict CSP; in development only (ASVS 5.0 V13.4.5)."""

import base64
import hashlib
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.security.access.credentials import Credentials
from app.security.access.identity import PROBLEM_TYPES
from app.security.access.policy import Policies
from app.security.core import problems
from app.security.core.problems import Problem
from app.security.core.settings import in_production

PACKAGE = "fastapi_offline"  # the assets of Swagger UI; a development dependency
DOCS, OPENAPI, ASSETS = "/docs", "/openapi.json", "/docs/assets"
PATHS = (DOCS, OPENAPI, ASSETS)
CSP = (
    "style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Swagger UI gives the focus to the last field of its dialogue, and so scrolls past the name and the password.
FOCUS = """<script>
document.addEventListener("click", event => event.target.closest(".authorize, .authorization__btn") &&
    setTimeout(() => document.querySelector("#oauth_username")?.focus()));
</script>
</body>"""
REQUEST_ID = "1f6c0b7d9a3e4c58b2d1e0f9a8b7c6d5"  # of examples
PROBLEM_TYPE, PROBLEM = Problem.media_type, {"schema": {"$ref": "#/components/schemas/Problem"}}
EXAMPLE = problems.document(Problem(401, PROBLEM_TYPES[""], "Authentication required."), REQUEST_ID)
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
MEMBERS = {"type": TEXT, "title": TEXT, "status": NUMBER, "detail": TEXT, "instance": TEXT}  # RFC 9457, section 3.1
ERRORS = {"errors": {"type": "array", "items": {"type": "object", "additionalProperties": TEXT}}}  # of a 422
SCHEMA = {"title": "Problem", "type": "object", "properties": MEMBERS | ERRORS, "required": [*MEMBERS]}


def openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the security of each operation and our error responses."""
    app.openapi_schema = None  # or FastAPI returns the one that it keeps
    document = FastAPI.openapi(app)
    policies = Policies(app)
    credentials: Credentials = app.state.credentials
    scopes = {scope: ", ".join(one.name for one in policies.all if scope in one.scopes) for scope in policies.scopes()}
    schemes = {kind.name: kind.openapi_scheme(scopes) for kind in credentials.kinds}
    document.setdefault("components", {})["securitySchemes"] = schemes
    schemas = document["components"].setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which never occur here
        schemas.pop(name, None)
    schemas["Problem"] = SCHEMA | {"examples": [EXAMPLE]}
    schemas["ScopeName"] = {"type": "string", **({"enum": list(scopes)} if scopes else {})}
    for policy in policies.all:
        path = re.sub(r"{(\w+):\w+}", r"{\1}", policy.path)  # without convertors
        for method in policy.methods:
            operation = document["paths"].get(path, {}).get(method.lower())
            if operation is None:
                continue
            operation["responses"].pop("422", None)
            types = [PROBLEM_TYPE, *(["application/json"] if policy.limits.get("media_types") else [])]  # RFC 6749 5.2
            content = dict.fromkeys(types, PROBLEM)
            operation["responses"]["default"] = {"description": "A problem (RFC 9457)", "content": content}
            for status, response in operation["responses"].items():
                if "400" <= status <= "599":  # such as a 409 that a route names
                    problem = Problem(int(status), detail=f"{response['description']}.")
                    example = problems.document(problem, REQUEST_ID)
                    response.setdefault("content", {PROBLEM_TYPE: PROBLEM | {"example": example}})
            if policy.guarded:
                operation["security"] = [
                    {kind.name: sorted(policy.scopes)}
                    for kind in credentials.kinds
                    if policy.scopes or not kind.always_limited
                ]
    return document


def _root_path(request: Request) -> str:
    """Quoted: below a mount at `/{tenant}` the client writes a part of it, and the page holds it in a script."""
    return quote(request.scope.get("root_path", "").rstrip("/"))


def _page(app: FastAPI, root_path: str) -> Response:
    assets = root_path + ASSETS
    page = get_swagger_ui_html(
        openapi_url=root_path + OPENAPI,
        title=app.title,
        oauth2_redirect_url=None,
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=f"{assets}/favicon.png",
    )
    html = bytes(page.body).decode().replace("<html>", '<html lang="en">', 1).replace("</body>", FOCUS)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    csp = f"default-src 'none'; script-src 'self' {allowed}; {CSP}"
    return HTMLResponse(html, headers={"Content-Security-Policy": csp})


def install(app: FastAPI, declared: Collection[str]) -> tuple[str, ...]:
    """Add the documents in development, and lead `/` to them unless you serve it. Returns their paths."""
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    package = None if in_production() else find_spec(PACKAGE)
    if package is None or package.origin is None:
        return ()

    async def docs(request: Request) -> Response:
        return _page(app, _root_path(request))

    async def openapi_json(request: Request) -> Response:
        document, root_path = app.openapi(), _root_path(request)
        if root_path:
            document["servers"] = [{"url": root_path}, *document.get("servers", ())]
        return JSONResponse(document)

    app.add_route(DOCS, docs, include_in_schema=False)
    app.add_route(OPENAPI, openapi_json, include_in_schema=False)
    app.mount(ASSETS, StaticFiles(directory=Path(package.origin).parent / "static"))
    root: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    if "/" in declared or any(route.matches({**root})[0] is not Match.NONE for route in app.routes):
        return PATHS

    async def to_docs(request: Request) -> Response:
        return RedirectResponse(_root_path(request) + DOCS)

    app.add_route("/", to_docs, include_in_schema=False)
    return ("/", *PATHS)
