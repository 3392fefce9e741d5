"""sse-starlette | as is | `EventSourceResponse` from a route; the stream reads the database with `Database.begin()`"""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from sse_starlette import EventSourceResponse

from app.security.identity import require_scope
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

PACKAGES = ["sse-starlette"]


async def count() -> AsyncIterator[dict[str, str]]:
    for number in range(3):
        yield {"data": str(number)}


async def stream() -> EventSourceResponse:
    return EventSourceResponse(count())


def add(app: FastAPI) -> None:
    app.get("/stream", dependencies=[require_scope("stream:read")])(stream)


def test_events_arrive(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=lambda: assemble(add))

    assert client.get("/stream").status_code == 401
    response = as_caller(client=client).get("/stream")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.split() == ["data:", "0", "data:", "1", "data:", "2"]
