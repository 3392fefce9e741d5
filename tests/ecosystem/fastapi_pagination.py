"""fastapi-pagination | as is | `Page` and `Params` in an ordinary route"""

from fastapi import APIRouter, FastAPI
from fastapi_pagination import Page, add_pagination, paginate

from app.security.compose import fastapi_options, secure
from app.security.identity import require_scope
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

PACKAGES = ["fastapi-pagination"]
router = APIRouter()


@router.get("/numbers", dependencies=[require_scope("numbers:read")])
async def numbers() -> Page[int]:
    return paginate(list(range(100)))


def build() -> FastAPI:
    app = FastAPI(**fastapi_options())
    app.include_router(router)
    add_pagination(app)
    secure(app)
    return app


def test_a_page_has_its_numbers(make_client: MakeClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=make_client(build=build))

    assert caller.get("/numbers", params={"page": 2, "size": 3}).json()["items"] == [3, 4, 5]
    assert caller.get("/numbers", params={"size": 100_000}).status_code == 422
