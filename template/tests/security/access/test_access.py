"""Only a path with a policy is served, and only by the route whose policy was enforced."""

from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app.security.access.identity import public, require_scope
from app.security.access.policy import InsecureApp
from app.security.admission.request_guard import accepts
from app.security.compose import fastapi_options
from tests.security.build_app import Add, assemble, caller_of, forgotten, plain, some_folder
from tests.security.fixtures import PRODUCTION_ENVIRONMENT

Environment = Callable[..., None]


def open_route(app: FastAPI) -> None:
    app.get("/open", dependencies=[public])(forgotten)


def test_what_is_added_after_the_start_up_is_not_served(environment: Environment) -> None:
    environment()
    app, router = FastAPI(**fastapi_options()), APIRouter(prefix="/router")

    def add(app: FastAPI) -> None:
        open_route(app)
        router.get("/open", dependencies=[public])(forgotten)
        app.include_router(router)

    app = assemble(add)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        app.get("/late")(forgotten)
        router.get("/late")(forgotten)
        app.mount("/mount", PlainTextResponse("open to all"))
        app.frontend("/pages", directory=some_folder(), fallback=None)
        app.router.default = PlainTextResponse("open to all")
        paths = ["/late", "/router/late", "/mount/x", "/pages/fixtures.py", "/nothing"]

        assert [client.get(path).status_code for path in paths] == [404] * 5
        assert [client.get(path).status_code for path in ("/open", "/router/open")] == [200, 200]


@pytest.mark.slow
def test_a_late_route_does_not_answer_for_another(environment: Environment) -> None:
    environment()
    app = assemble(open_route)

    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        app.router.routes.insert(0, Route("/open", plain))
        app.router.routes.insert(0, Route("/users/me", plain))
        response = client.get("/open")

        assert (response.status_code, "open to all" in response.text) == (500, False)
        assert client.get("/users/me").status_code in (401, 404)


def test_an_undeclared_frontend_is_not_served(environment: Environment) -> None:
    environment()

    def add(app: FastAPI) -> None:
        router = APIRouter()
        router.frontend("/pages", directory=some_folder(), fallback=None)
        app.include_router(router, prefix="/a")
        app.frontend("/pages", directory=some_folder(), fallback=None)

    client = caller_of(assemble(add))

    assert [client.get(f"{path}/fixtures.py").status_code for path in ("/pages", "/a/pages")] == [404, 404]


def test_a_mount_can_be_guarded(environment: Environment) -> None:
    environment()
    entered: list[str] = []

    async def admin(scope: Scope, receive: Receive, send: Send) -> None:
        entered.append(scope["path"])

    def add(app: FastAPI) -> None:
        app.mount("/admin", admin)
        app.frontend("/pages", directory=some_folder(), fallback=None)

    scope = require_scope("admin:use")
    client = caller_of(assemble(add, guarded={"/admin": [scope, accepts("text/csv")], "/pages": [scope]}))

    assert [client.get(path).status_code for path in ("/admin", "/admin/x", "/pages/fixtures.py")] == [401] * 3
    assert client.post("/admin/x", json={}).status_code == 415
    assert client.get("/administrator").status_code == 404
    assert entered == []


def catch_all(app: FastAPI) -> None:
    app.get("/{page:path}", dependencies=[public])(forgotten)


def catch_all_of_a_router(app: FastAPI) -> None:
    router = APIRouter()
    catch_all(router)  # type: ignore[arg-type]
    app.include_router(router)


def mount_of_everything(app: FastAPI) -> None:
    app.mount("/", PlainTextResponse("open to all"))


RARER = [pytest.param(add, marks=pytest.mark.slow) for add in (catch_all_of_a_router, mount_of_everything)]


@pytest.mark.parametrize("add", [catch_all, *RARER])
def test_no_route_of_the_owner_shadows_the_templates(environment: Environment, add: Add) -> None:
    environment()

    client = caller_of(assemble(add, public=["/"]))

    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/docs/assets/swagger-ui.css").status_code == 200
    assert client.get("/something/else").text.strip('"') == "open to all"


def test_an_override_grants_nothing_in_production(environment: Environment) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    required = require_scope("a:read")
    app = assemble(lambda app: app.get("/guarded", dependencies=[required])(forgotten))
    with TestClient(app, base_url="https://api.example.com", raise_server_exceptions=False) as client:
        assert client.get("/guarded").status_code == 401

        app.dependency_overrides[required.dependency] = lambda: None

        assert client.get("/guarded").status_code == 401


def test_an_app_without_secure_serves_nothing_and_names_what_to_add() -> None:
    app = FastAPI(**fastapi_options())
    app.get("/open")(forgotten)

    with pytest.raises(InsecureApp, match="never calls secure"), TestClient(app):
        pass
    with pytest.raises(InsecureApp, match="never calls secure"):
        TestClient(app).get("/open")
