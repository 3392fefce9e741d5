"""Below a declared mount: what the inner app requires holds as well, and what would never be called fails the start."""

from collections.abc import Callable

import pytest
from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from app.security.access.identity import Authenticate, authenticate, public, require_scope
from app.security.access.policy import InsecureApp
from app.security.admission.request_guard import internal
from app.security.compose import fastapi_options, secure
from app.security.operations.start_up import check_app
from tests.security.build_app import assemble, plain
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient


class Billing(FastAPI):
    """A subclass, which may respond before any of its routes: its mount has to be declared."""


def add_billing(app: FastAPI) -> None:
    billing = Billing(**fastapi_options())

    @billing.get("/invoices", dependencies=[require_scope("billing:read")])
    async def read() -> None: ...

    @billing.delete("/invoices", dependencies=[require_scope("billing:write")])
    async def remove() -> None: ...

    @billing.get("/metrics", dependencies=[public, internal])
    async def metrics() -> str:
        return "up 1"

    app.mount("/billing", billing)


def test_a_route_below_requires_its_own_scope_beside_that_of_the_mount(
    make_client: MakeClient, as_caller: AsCaller
) -> None:
    def build() -> FastAPI:
        app = FastAPI(**fastapi_options())
        add_billing(app)
        secure(app, guarded={"/billing": [require_scope("billing:read")]})
        return app

    client = make_client(build=build)
    caller = as_caller(scope="billing:read", client=client)

    assert caller.get("/billing/invoices").status_code == 200
    assert caller.delete("/billing/invoices").status_code == 403


def test_an_internal_route_below_a_mount_that_is_not_internal_responds_to_nobody(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_billing, public=["/billing"]))

    assert client.get("/billing/metrics").status_code == 500


class Tenant(Authenticate):
    """FastAPI calls it, and nothing else does."""

    async def __call__(self, connection: HTTPConnection) -> None: ...


async def only_tenant() -> None: ...


@pytest.mark.parametrize("dependency", [Tenant(), only_tenant], ids=["subclass", "function"])
@pytest.mark.parametrize("kind", ["mount", "route"])
def test_a_dependency_that_nothing_would_call_fails_at_start_up(
    environment: Callable[..., None], dependency: Callable[..., object], kind: str
) -> None:
    environment()

    def add(app: FastAPI) -> None:
        if kind == "mount":
            app.mount("/sub", Billing(**fastapi_options()))
        else:
            app.add_route("/sub", plain)

    app = assemble(add, guarded={"/sub": [Depends(authenticate), Depends(dependency)]})

    with pytest.raises(InsecureApp, match=r"/sub takes no dependencies, so (Tenant|only_tenant) is never called there"):
        check_app(app)
