"""Bodies of undeclared length, clients without an address, paths with a line break, and responses that go on."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from app.security.access.identity import public
from tests.security.admission.test_request_guard import JSON
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import NOBODY_GAVE_UP_SECONDS, ask, nothing_more, scope_of
from tests.security.sample_resource import client_of_things  # noqa: F401


def test_a_body_of_undeclared_length_that_is_small_enough_is_read(as_caller: AsCaller) -> None:
    body = iter([b'{"title": ', b'"Milk"}'])

    assert as_caller().post("/things", content=body, headers=JSON).status_code == 201


def test_a_path_with_a_line_break_is_refused(client: TestClient) -> None:
    assert client.get("/things%0A").status_code == 400


@pytest.mark.parametrize(
    ("server", "status"), [(("192.168.1.2", 8000), 403), (None, 403), (("/run/app.sock", None), 200)]
)
def test_a_client_that_left_is_not_taken_for_this_machine(client: TestClient, server: object, status: int) -> None:
    answers: list[Message] = []

    async def send(message: Message) -> None:
        answers.append(message)

    assert client.portal is not None
    scope = scope_of(client, "/health/live", "GET") | {"client": None, "server": server}
    client.portal.call(client.app, scope, nothing_more, send)

    assert answers[0]["status"] == status


def test_a_body_that_was_never_announced_is_held_to_the_same(client: TestClient) -> None:
    """HTTP/2 servers pass bodies on without a length."""

    async def call(media_type: str, pieces: int) -> int:
        body = iter([{"type": "http.request", "body": b" " * 65_536, "more_body": True}] * pieces)

        async def receive() -> Any:
            return next(body, {"type": "http.request", "body": b"", "more_body": False})

        return await ask(client, "/things/judged", receive, content_type=media_type)

    assert client.portal is not None
    assert client.portal.call(call, "application/json", 17) == 413
    assert client.portal.call(call, "text/evil", 1) == 415


def test_a_response_that_started_in_time_may_take_longer(make_client: MakeClient) -> None:
    def add_stream(app: FastAPI) -> None:
        @app.get("/stream", dependencies=[public])
        async def stream() -> StreamingResponse:
            async def pieces() -> AsyncIterator[str]:
                yield "one "
                await asyncio.sleep(0.3)
                yield "two"

            return StreamingResponse(pieces())

    client = make_client(build=lambda: assemble(add_stream), RESPONSE_SECONDS="0.2")

    assert client.get("/stream").text == "one two"


def test_a_client_that_reads_nothing_has_the_deadline_too(make_client: MakeClient) -> None:
    """The server waits in `send` while an earlier response of the connection fills its buffer."""
    client = make_client(RESPONSE_SECONDS="0.2")

    async def unread(message: Message) -> None:
        await asyncio.sleep(NOBODY_GAVE_UP_SECONDS)

    async def call() -> None:
        async with asyncio.timeout(NOBODY_GAVE_UP_SECONDS / 2):
            await client.app(scope_of(client, "/docs", "GET"), nothing_more, unread)  # type: ignore[arg-type]

    assert client.portal is not None
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        client.portal.call(call)
    assert time.monotonic() - started < NOBODY_GAVE_UP_SECONDS / 4


class _Passed(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def test_a_late_response_below_other_middleware_is_a_504(make_client: MakeClient) -> None:
    def add_late(app: FastAPI) -> None:
        @app.get("/late", dependencies=[public])
        async def late() -> StreamingResponse:
            async def pieces() -> AsyncIterator[str]:
                await asyncio.sleep(NOBODY_GAVE_UP_SECONDS)
                yield ""

            return StreamingResponse(pieces())

        app.add_middleware(_Passed)
        app.add_middleware(GZipMiddleware)

    client = make_client(build=lambda: assemble(add_late), RESPONSE_SECONDS="0.2")

    assert client.get("/late").status_code == 504


def test_a_message_that_an_app_sends_again_and_again_stays_its_own(make_client: MakeClient) -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": []}

    async def constant(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body"})

    client = make_client(build=lambda: assemble(lambda app: app.mount("/constant", constant), public=["/constant"]))

    origins = [{}, {"Origin": "http://localhost:3000"}, {"Origin": "https://evil.example"}]
    answers = [client.get("/constant/", headers=origin) for origin in origins]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert start["headers"] == []


def test_a_refusal_names_every_method_of_the_path(as_caller: AsCaller) -> None:
    answer = as_caller().put("/things", json={})

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


def test_development_may_name_other_machines(make_client: MakeClient) -> None:
    client = make_client(address="192.168.1.7", DEVELOPMENT_NETWORKS="192.168.1.0/24")

    assert client.get("/health/live").status_code == 200


def test_a_path_with_another_slash_is_another_path(as_caller: AsCaller) -> None:
    assert as_caller().get("/things/", follow_redirects=False).status_code == 404


def test_a_method_is_not_overridden_by_a_header(as_caller: AsCaller) -> None:
    caller = as_caller()
    thing = f"/things/{caller.post('/things', json={'title': 'x'}).json()['id']}"

    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert caller.post(thing, headers={name: "DELETE"}).status_code == 405

    assert caller.get("/things").json() == 1
