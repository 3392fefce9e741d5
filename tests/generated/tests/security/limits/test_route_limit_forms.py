"""`@limiter.limit` on every form of function that FastAPI takes, and the limits that fail at start-up."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse

from app.security.access.identity import public
from app.security.access.policy import InsecureApp
from app.security.core.problems import Problem
from app.security.operations.doctor import callers
from app.security.operations.start_up import check_app
from app.security.rate_limits import limiter
from tests.security.build_app import assemble, caller_of
from tests.security.fixtures import MakeClient


def foreign_limit() -> Any:
    return Limiter(key_func=lambda: "").limit("1/minute")


def on_a_plain_route(app: FastAPI) -> None:
    @limiter.limit("1/minute")
    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("open to all")

    app.add_route("/plain", plain)


def foreign_on_a_dependency(app: FastAPI) -> None:
    @foreign_limit()  # type: ignore[untyped-decorator]
    def dependency(request: Request) -> None: ...

    @app.get("/foreign", dependencies=[public, Depends(dependency)])
    def depends() -> None: ...


MISTAKES: dict[str, tuple[Callable[[FastAPI], Any], str]] = {
    "on a plain route": (on_a_plain_route, "/plain: @limiter.limit has no effect"),
    "foreign, on a dependency": (foreign_on_a_dependency, "GET /foreign: another Limiter"),
    "slowapi's middleware": (lambda app: app.add_middleware(SlowAPIMiddleware), "SlowAPIMiddleware skips"),
    "its ASGI middleware": (lambda app: app.add_middleware(SlowAPIASGIMiddleware), "SlowAPIASGIMiddleware skips"),
}


def test_a_limit_that_cannot_be_read_names_itself_and_a_right_one() -> None:
    with pytest.raises(ValueError, match=re.escape('@limiter.limit("5/min"): write a limit such as 5/minute')):
        limiter.limit("5/min")


@pytest.mark.parametrize(("add", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_limit_without_effect_fails_at_start_up(
    environment: Callable[..., None], add: Callable[[FastAPI], Any], message: str
) -> None:
    app = assemble(add, public=["/plain"] if add is on_a_plain_route else [])

    with pytest.raises(InsecureApp, match=re.escape(message)), caller_of(app):
        pass


def test_a_websocket_has_no_limit_of_its_own() -> None:
    async def socket(websocket: WebSocket) -> None: ...

    with pytest.raises(TypeError, match="socket needs its request"):
        limiter.limit("1/minute")(socket)


class Methods:
    @limiter.limit("1/minute")
    def read(self, request: Request) -> None: ...

    @limiter.limit("1/minute")
    async def __call__(self, request: Request) -> None: ...


async def no_coupon() -> str:
    raise Problem(404)


def make(app: FastAPI, path: str) -> None:
    """A function of the same name for each path."""

    @app.get(path, dependencies=[public])
    @limiter.limit("1/minute")
    def twin(request: Request) -> None: ...


def add_forms(app: FastAPI) -> None:
    app.get("/method", dependencies=[public])(Methods().read)
    app.get("/object", dependencies=[public])(Methods())

    @app.get("/connection", dependencies=[public])
    @limiter.limit("1/minute")
    async def connection(request: HTTPConnection) -> None: ...

    @limiter.limit("1/minute")
    def dependency(request: Request) -> None: ...

    @app.get("/dependency", dependencies=[public, Depends(dependency)])
    def depends() -> None: ...

    @app.get("/guesses", dependencies=[public])
    @limiter.limit("1/minute")
    async def guesses(request: Request, coupon: Annotated[str, Depends(no_coupon)]) -> None: ...

    @app.get("/stacked", dependencies=[public])
    @limiter.limit("100/minute")
    @limiter.limit("1/minute")
    def stacked(request: Request) -> None: ...

    @app.get("/several", dependencies=[public])
    @limiter.limit("100/hour;1/minute")
    def several(request: Request) -> None: ...

    @app.get("/empty-key", dependencies=[public])
    @limiter.limit("1/minute", key_func=lambda: "")
    def empty_key(request: Request) -> None: ...

    below = FastAPI(openapi_url=None)
    make(below, "/mounted")
    app.mount("/below", below)

    @app.get("/costly", dependencies=[public])
    @limiter.limit("3/minute", cost=lambda request: 2)
    def costly(request: Request) -> None: ...


def test_it_counts_what_another_dependency_refuses(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_forms))

    assert [client.get("/guesses").status_code for _ in range(2)] == [404, 429]


FORMS = ["method", "object", "connection", "dependency", "stacked", "several", "empty-key", "below/mounted", "costly"]


@pytest.mark.parametrize("path", FORMS)
def test_it_counts_on_every_form_of_function(make_client: MakeClient, path: str) -> None:
    client = make_client(build=lambda: assemble(add_forms))

    assert [client.get(f"/{path}").status_code for _ in range(2)] == [200, 429]


def test_functions_of_one_module_and_name_share_their_limit(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        make(app, "/one")
        make(app, "/other")

    client = make_client(build=lambda: assemble(add))

    assert [client.get(path).status_code for path in ("/one", "/one", "/other")] == [200, 429, 429]


def test_methods_and_exemptions_of_slowapi_apply(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.api_route("/both", methods=["GET", "POST"], dependencies=[public])
        @limiter.limit("1/minute", methods=["POST"])
        @limiter.limit("2/minute", per_method=True)
        def both(request: Request) -> None: ...

        @app.get("/exempt", dependencies=[public])
        @limiter.limit("1/minute", exempt_when=lambda request: "exempt" in request.query_params)
        def exempt(request: Request) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert [client.get("/both").status_code for _ in range(3)] == [200, 200, 429]
    assert [client.post("/both").status_code for _ in range(2)] == [200, 429]
    assert [client.get("/exempt?exempt").status_code for _ in range(3)] == [200] * 3
    assert [client.get("/exempt").status_code for _ in range(2)] == [200, 429]


def test_a_computed_limit_that_is_invalid_refuses_every_request(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/computed", dependencies=[public])
        @limiter.limit(lambda: "often")
        def computed(request: Request) -> None: ...

    assert make_client(build=lambda: assemble(add)).get("/computed").status_code == 500


def test_the_limits_of_a_route_are_listed(environment: Callable[..., None]) -> None:
    environment()

    def by_plan() -> str:
        return "5/minute"

    def add(app: FastAPI) -> None:
        @app.get("/limited", dependencies=[public])
        @limiter.limit("7/hour")
        @limiter.limit(by_plan)
        def limited(request: Request) -> None: ...

    policies = check_app(assemble(add))

    (policy,) = [one for one in policies.all if one.path == "/limited"]
    assert callers(policy) == "everyone, rate limit by_plan and 7/hour"
