"""What clients, pages and probes expect of any service: HEAD, the right refusal, problem types, headers of pages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Text, cast, literal, select
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from app.database import DbSession
from app.security.access.identity import public, require_scope
from app.security.compose import fastapi_options, secure
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import scope_of

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = ""


def add_routes(app: FastAPI) -> None:
    @app.get("/text", dependencies=[public])
    async def text() -> str:
        return "something"

    @app.get("/endless", dependencies=[public])
    async def endless() -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            while True:
                yield b"line\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(lines())

    @app.get("/both", dependencies=[public])
    async def got() -> PlainTextResponse:
        return PlainTextResponse("", headers={"X-By": "get"})

    @app.head("/both", dependencies=[public])
    async def head() -> PlainTextResponse:
        return PlainTextResponse("", headers={"X-By": "head"})


def add_pages(app: FastAPI) -> None:
    @app.get("/page", dependencies=[public])
    async def page() -> HTMLResponse:
        return HTMLResponse("<!doctype html>")

    @app.get("/opener", dependencies=[public])
    async def opener() -> HTMLResponse:
        return HTMLResponse("", headers={"Cross-Origin-Opener-Policy": "same-origin-allow-popups"})


def add_orders(app: FastAPI) -> None:
    @app.get("/mine", dependencies=[require_scope("mine:read")])
    @app.post("/mine", dependencies=[require_scope("mine:write")])
    async def mine() -> None: ...

    @app.post("/orders", dependencies=[public], status_code=201)
    async def order(new: Order, db: DbSession) -> str | None:
        return await db.scalar(select(cast(literal(new.title), Text)))

    @app.get("/orders", dependencies=[public])
    async def orders(title: str, db: DbSession) -> str | None:
        return await db.scalar(select(cast(literal(title), Text)))


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    def add(app: FastAPI) -> None:
        for add_some in (add_routes, add_pages, add_orders):
            add_some(app)

    return make_client(build=lambda: assemble(add))


# Which refusal


@pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/orders", 405), ("POST", "/nowhere", 404)])
def test_a_form_to_a_wrong_method_or_path_is_not_blamed_on_its_media_type(
    client: TestClient, method: str, path: str, status: int
) -> None:
    assert client.request(method, path, content=b"a=b", headers=FORM).status_code == status


def test_problem_types_tell_a_missing_credential_from_an_invalid_one(client: TestClient, as_caller: AsCaller) -> None:
    missing, invalid = (
        client.get("/mine"),
        client.get("/mine", headers=wrong(as_caller(client=client, scope="mine:read"))),
    )

    assert (missing.status_code, missing.json()["type"]) == (401, "authentication-required")
    assert (invalid.status_code, invalid.json()["type"]) == (401, "invalid-credential")


def wrong(caller: TestClient) -> dict[str, str]:
    kind = "Authorization" if "Authorization" in caller.headers else "X-API-Key"
    return {kind: "Bearer wrong" if kind == "Authorization" else "wrong"}


def test_the_problem_type_of_a_missing_permission_is_its_own(client: TestClient, as_caller: AsCaller) -> None:
    refused = as_caller(client=client, scope="mine:read").post("/mine")

    assert (refused.status_code, refused.json()["type"]) == (403, "insufficient-scope")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/text"])
@pytest.mark.parametrize(("version", "status"), [("1.1", 400), ("1.0", 200)])
def test_http_1_1_without_host_is_refused_everywhere(client: TestClient, path: str, version: str, status: int) -> None:
    scope = scope_of(client, path, "GET") | {"http_version": version, "headers": []}
    found: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        found.append(message)

    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)

    assert found[0]["status"] == (400 if path == "/text" else status)


# HEAD


@pytest.mark.parametrize("path", ["/text", "/health/live", "/page"])
def test_head_is_answered_like_get_without_the_body(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)

    assert (head.status_code, head.content) == (200, b"")
    varying = {"x-request-id", "ratelimit"}
    assert {name: value for name, value in head.headers.items() if name not in varying} == {
        name: value for name, value in got.headers.items() if name not in varying
    }


def test_head_needs_the_same_credential_as_get(client: TestClient, as_caller: AsCaller) -> None:
    assert client.head("/mine").status_code == 401
    assert as_caller(client=client, scope="mine:write").head("/mine").status_code == 403
    assert as_caller(client=client, scope="mine:read").head("/mine").status_code == 200


def test_head_of_a_path_without_get_is_refused(client: TestClient) -> None:
    assert client.head("/nowhere").status_code == 404


def test_a_head_route_of_the_owner_is_kept(client: TestClient) -> None:
    assert (client.head("/both").headers["x-by"], client.get("/both").headers["x-by"]) == ("head", "get")


def test_head_of_an_endless_stream_ends(client: TestClient) -> None:
    assert client.head("/endless").content == b""


def test_allow_names_head(client: TestClient) -> None:
    assert client.put("/text").headers["allow"] == "GET, HEAD"


# Documents


def test_documents_have_the_headers_of_documents_and_data_has_not(client: TestClient) -> None:
    page, text, opener = client.get("/page").headers, client.get("/text").headers, client.get("/opener").headers

    assert page["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in page["permissions-policy"]
    assert text.keys().isdisjoint({"cross-origin-opener-policy", "permissions-policy"})
    assert opener["cross-origin-opener-policy"] == "same-origin-allow-popups"


def test_in_development_the_root_leads_to_the_documents(client: TestClient, make_client: MakeClient) -> None:
    page = client.get("/")

    assert (page.status_code, page.url.path) == (200, "/docs")
    assert make_client(production=True).get("/").status_code == 404


def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("mine")


@pytest.mark.parametrize("kind", ["route", "catch-all", "mount", "frontend"])
def test_a_root_of_the_owner_stays(make_client: MakeClient, kind: str, tmp_path: Any) -> None:
    (tmp_path / "index.html").write_text("mine")

    def build() -> FastAPI:
        app, public_paths = FastAPI(**fastapi_options()), ["/"]
        if kind == "route":
            app.add_route("/", hello)
        elif kind == "catch-all":
            public_paths = ["/{path:path}"]
            app.add_route("/{path:path}", hello)
        elif kind == "mount":
            app.mount("/", StaticFiles(directory=tmp_path, html=True))
        else:
            app.frontend("/", directory=tmp_path)
        secure(app, public=public_paths)
        return app

    assert make_client(build=build).get("/").text == "mine"


# What is wrong with a body


@pytest.mark.parametrize(
    ("member", "pointer"),
    [("colour", "/body/colour"), ("first_name", "/body/first_name"), ("hunter2-7f3a", "/body"), ("x" * 33, "/body")],
)
def test_an_unknown_member_is_named_if_its_name_is_short_and_plain(
    client: TestClient, member: str, pointer: str
) -> None:
    refused = client.post("/orders", json={member: 1})

    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


def test_a_nul_is_refused_alike_by_every_database(client: TestClient) -> None:
    refused = [client.post("/orders", json={"title": "a\0b"}), client.get("/orders?title=a%00b")]

    assert [answer.status_code for answer in refused] == [422, 422]
    assert {answer.json()["detail"] for answer in refused} == {"The request holds a value that cannot be stored."}


def test_the_page_of_the_documents_names_its_language(client: TestClient) -> None:
    """WCAG 2.2, 3.1.1: a screen reader pronounces it by that."""
    assert '<html lang="en">' in client.get("/docs").text
