"""strawberry-graphql | one line | `include_router(graphql, dependencies=[require_scope("graph:read")])` with
`graphql_ide=None`; for GraphiQL see [pages](how-to/pages.md)
"""

import re

import strawberry
from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from strawberry.fastapi import GraphQLRouter
from strawberry.http.ides import get_graphql_ide_html

from app.security.identity import public, require_scope
from app.security.request_guard import content_security_policy
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

PACKAGES = ["strawberry-graphql"]


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"


schema = strawberry.Schema(Query)
router = APIRouter()
CDN = "https://unpkg.com"
EDITOR = content_security_policy(
    f"default-src 'self'; script-src 'unsafe-inline' {CDN}; style-src 'unsafe-inline' {CDN}; "
    "img-src data:; font-src data:"
)


@router.get("/graph", include_in_schema=False, response_class=HTMLResponse, dependencies=[public, EDITOR])
async def editor() -> str:
    return get_graphql_ide_html()


graphql = GraphQLRouter(schema, graphql_ide=None, allow_queries_via_get=False)
router.include_router(graphql, prefix="/graph", dependencies=[require_scope("graph:read")])


def add(app: FastAPI) -> None:
    app.include_router(router)


def test_a_query_needs_a_caller(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=lambda: assemble(add))
    query = {"query": "{ hello }"}

    assert client.post("/graph", json=query).status_code == 401
    assert as_caller(client=client).post("/graph", json=query).json()["data"] == {"hello": "world"}


def test_the_policy_of_the_editor_names_all_that_its_page_loads(make_client: MakeClient) -> None:
    page = make_client(build=lambda: assemble(add)).get("/graph")
    policy = dict(one.strip().split(" ", 1) for one in page.headers["content-security-policy"].split(";"))
    scripts = re.findall(r'<script[^>]*?src="(https://[^/"]+)', page.text)
    styles = re.findall(r'<link[^>]*?rel="stylesheet"[^>]*?href="(https://[^/"]+)', page.text)

    assert page.status_code == 200
    assert {*scripts} | {*styles} == {CDN}
    assert {CDN, "'unsafe-inline'"} <= {*policy["script-src"].split()} & {*policy["style-src"].split()}
