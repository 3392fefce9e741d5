"""Mounted apps, and handlers of the owner's, beside the policies."""

from fastapi import APIRouter, FastAPI, HTTPException, Request
from starlette.responses import PlainTextResponse

from app.security.access.identity import public, require_scope
from app.security.compose import fastapi_options
from tests.security.access.test_access import Environment
from tests.security.build_app import assemble, caller_of, forgotten


def test_mounts_may_repeat_a_parameter(environment: Environment) -> None:
    environment()
    below = FastAPI(**fastapi_options())
    below.get("/{name}/guarded", dependencies=[require_scope("a:read")])(forgotten)
    below.get("/{name}/open", dependencies=[public])(forgotten)

    client = caller_of(assemble(lambda app: app.mount("/tenants/{name}", below)))

    statuses = [client.get(f"/tenants/1/2/{path}").status_code for path in ("guarded", "open", "nothing")]
    assert statuses == [401, 200, 404]


def test_an_app_mounted_in_an_included_router_has_our_error_documents(environment: Environment) -> None:
    environment()
    below, router = FastAPI(**fastapi_options()), APIRouter()

    @below.get("/teapot", dependencies=[public])
    async def teapot() -> None:
        raise HTTPException(418)

    router.mount("/below", below)
    response = caller_of(assemble(lambda app: app.include_router(router, prefix="/a"))).get("/a/below/teapot")

    assert (response.status_code, response.headers["content-type"]) == (418, "application/problem+json")


def test_an_owners_404_handler_responds_to_unknown_paths(environment: Environment) -> None:
    environment()

    def add(app: FastAPI) -> None:
        @app.exception_handler(404)
        async def not_found(request: Request, error: Exception) -> PlainTextResponse:
            return PlainTextResponse("a page of the owner", 404)

        app.get("/guarded", dependencies=[require_scope("a:read")])(forgotten)

    client = caller_of(assemble(add))

    assert client.get("/nothing").text == "a page of the owner"
    assert client.get("/guarded").headers["content-type"] == "application/problem+json"
    assert client.post("/guarded").headers["allow"] == "GET, HEAD"
