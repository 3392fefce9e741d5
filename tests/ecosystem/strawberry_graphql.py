"""strawberry-graphql | one line | `include_router(graphql, dependencies=[require_scope("graph:read")])` with
`graphql_ide=None`; for GraphiQL see [pages](how-to/pages.md)
"""

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter

from app.security.identity import require_scope
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

PACKAGES = ["strawberry-graphql"]


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"


def add(app: FastAPI) -> None:
    graphql = GraphQLRouter(strawberry.Schema(Query), graphql_ide=None)
    app.include_router(graphql, prefix="/graph", dependencies=[require_scope("graph:read")])


def test_a_query_needs_a_caller(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=lambda: assemble(add))
    query = {"query": "{ hello }"}

    assert client.post("/graph", json=query).status_code == 401
    assert as_caller(client=client).post("/graph", json=query).json()["data"] == {"hello": "world"}
