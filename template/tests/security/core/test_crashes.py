"""What nobody expected is answered, if there is still time, and written down; what was given up is no error."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.security.access.identity import public
from app.security.compose import fastapi_options
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.http.test_headers import EXPECTED
from tests.security.raw_asgi import ask, nothing_more

Recorded = list[dict[str, Any]]
OPEN = [public]


async def exits() -> None:
    raise SystemExit(1)


async def cancels() -> None:
    task = asyncio.create_task(asyncio.sleep(9))
    task.cancel()
    await task


async def waits() -> None:
    await asyncio.sleep(9)


async def raises() -> None:
    raise RuntimeError("in the cellar")


async def half() -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "half of "
        await raises()

    return StreamingResponse(pieces())


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await raises()


def add_routes(app: FastAPI) -> None:
    below = FastAPI(**fastapi_options())
    for path, endpoint in (("/exits", exits), ("/cancels", cancels)):
        app.get(path, dependencies=OPEN)(endpoint)
    app.post("/waits", dependencies=OPEN)(waits)
    app.websocket("/socket", dependencies=OPEN)(socket)
    below.get("/raises", dependencies=OPEN)(raises)
    below.get("/half", dependencies=OPEN)(half)
    app.mount("/below", below)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


def crashes(recorded: Recorded) -> list[str]:
    return [event["reason"] for event in recorded if event["event"] == "sys_crash"]


@pytest.mark.parametrize(("path", "reason"), [("/exits", "SystemExit"), ("/cancels", "CancelledError")])
def test_a_route_that_ends_itself_is_an_error_like_any_other(
    client: TestClient, recorded: Recorded, path: str, reason: str
) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert {name: answer.headers.get(name) for name in EXPECTED} == EXPECTED
    assert crashes(recorded) == [reason]


def test_a_request_that_is_given_up_is_no_error(client: TestClient, recorded: Recorded) -> None:
    async def give_up() -> bool:
        asking = asyncio.create_task(ask(client, "/waits", nothing_more))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait([asking])
        return asking.cancelled()

    assert client.portal is not None
    assert client.portal.call(give_up)
    assert crashes(recorded) == []


def test_what_a_mounted_app_has_answered_to_its_end_stands(client: TestClient, recorded: Recorded) -> None:
    server = TestClient(client.app, base_url="http://localhost")  # it raises what a server would see

    assert server.get("/below/raises").status_code == 500
    assert crashes(recorded) == ["RuntimeError"]
    with pytest.raises(RuntimeError):
        server.get("/below/half")


def test_a_socket_that_crashes_is_written_down(
    client: TestClient, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    with client.websocket_connect("/socket") as opened:
        opened.send_text("go")
        with pytest.raises(WebSocketDisconnect) as closed:
            opened.receive_text()

    assert closed.value.code == 1011
    assert crashes(recorded) == ["RuntimeError"]
    assert "in the cellar" in capsys.readouterr().out


def test_who_leaves_a_socket_breaks_nothing(client: TestClient, recorded: Recorded) -> None:
    with client.websocket_connect("/socket"):
        pass

    assert crashes(recorded) == []
