"""Paths that `secure(app, public=…, guarded=…)` declares: plain routes, mounts, and what static files normalise."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from app.security.access.identity import Caller, require_scope
from app.security.access.policy import NO_OPTIONS, UNDECLARED, InsecureApp
from app.security.compose import secure
from app.security.operations.start_up import check_app
from app.security.request_guard import accepts
from tests.security.build_app import assemble, forgotten, plain
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask, nothing_more

Environment = Callable[..., None]
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


def test_a_guarded_mount_behind_a_public_one_fails_at_start_up(environment: Environment, files: Path) -> None:
    environment()

    def add(app: FastAPI) -> None:
        app.mount("/files", StaticFiles(directory=files))
        app.mount("/files/admin", StaticFiles(directory=files / "admin"))

    app = assemble(add, public=["/files"], guarded={"/files/admin": CALLER})

    with pytest.raises(InsecureApp, match=r"\* /files/admin is guarded, but \* /files responds first"):
        check_app(app)


def test_a_requirement_that_is_never_called_fails_at_start_up(environment: Environment) -> None:
    environment()

    def add(app: FastAPI) -> None:
        @app.get("/reports", dependencies=[Depends(require_scope)])
        async def reports(caller: Caller) -> None: ...

    with pytest.raises(InsecureApp, match=r"GET /reports never calls require_scope: write require_scope\(…\)"):
        check_app(assemble(add))


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


def problems(app: FastAPI) -> list[str]:
    """What a start-up lists."""
    with pytest.raises(InsecureApp) as stopped:
        check_app(app)
    return [line.removeprefix("  - ") for line in str(stopped.value).splitlines()[1:]]


def test_a_mounted_app_is_named_once_with_the_line_that_declares_it(make_client: MakeClient) -> None:
    make_client()
    below = Starlette(routes=[Route("/", plain), Route("/login", plain), Mount("/statics", PlainTextResponse(""))])

    found = problems(assemble(lambda app: app.mount("/admin", below)))

    assert found == [UNDECLARED.format("/admin")]
    assert 'secure(app, public=["/admin"])' in found[0]
    assert 'guarded={"/admin": [' in found[0]


@pytest.mark.parametrize("documents", ["/openapi.json", None])
def test_an_app_without_our_options_fails_at_start_up_with_the_line_to_write(
    make_client: MakeClient, documents: str | None
) -> None:
    make_client()
    app = FastAPI(openapi_url=documents)
    secure(app)

    assert problems(app) == [NO_OPTIONS.format("/")]


def test_a_mounted_app_with_documents_of_its_own_is_named(make_client: MakeClient) -> None:
    make_client()

    assert problems(assemble(lambda app: app.mount("/below", FastAPI()))) == [NO_OPTIONS.format("/below")]


def test_a_public_path_declares_the_media_types_of_its_forms(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        app.mount("/pages", Starlette(routes=[Route("/login", plain, methods=["POST"])]))

    form = accepts("application/x-www-form-urlencoded")
    client = make_client(build=lambda: assemble(add, public={"/pages": [form]}))
    undeclared = make_client(build=lambda: assemble(add, public=["/pages"]))

    assert client.post("/pages/login", data={"name": "x"}).status_code == 200
    assert undeclared.post("/pages/login", data={"name": "x"}).status_code == 415


def test_a_path_that_is_declared_twice_is_guarded(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        app.add_route("/report", Report)

    client = make_client(build=lambda: assemble(add, public=["/report"], guarded={"/report": CALLER}))

    assert client.get("/report").status_code == 401


def test_caller_among_the_dependencies_is_explained() -> None:
    with pytest.raises(AttributeError, match=r"dependencies=\[Caller\]: .* write Depends\(authenticate\)"):
        FastAPI().get("/notes", dependencies=[Caller])(forgotten)  # type: ignore[list-item]
