"""What is begun and never ends: bodies that do not arrive and sockets that stay take no more than a share."""

import time
from collections.abc import Callable

import pytest
from anyio.from_thread import BlockingPortal
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from app.security.access.identity import public
from app.security.admission.request_guard import deadline
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask, nothing_more

HALF = {"content_type": "application/json", "content_length": "9"}
MakeService = Callable[..., TestClient]


def add_routes(app: FastAPI) -> None:
    @app.post("/read", dependencies=[public])
    async def read(body: dict[str, int]) -> None: ...

    @app.get("/other", dependencies=[public])
    async def other() -> None: ...

    @app.get("/large", dependencies=[public, deadline(None)])
    async def large() -> StreamingResponse:
        return StreamingResponse(iter(["some"] * 9))

    @app.websocket("/socket", dependencies=[public])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive()


@pytest.fixture
def service(make_client: MakeClient) -> MakeService:
    def make(**variables: str) -> TestClient:
        settings = {"MAX_IN_FLIGHT": "64", "MAX_IN_FLIGHT_OF_ONE_SOURCE": "12", "BODY_SECONDS": "1.5"} | variables
        return make_client(build=lambda: assemble(add_routes), address="203.0.113.1", **NETWORKS, **settings)

    return make


NETWORKS = {"DEVELOPMENT_NETWORKS": "203.0.113.0/24"}


def portal(client: TestClient) -> BlockingPortal:
    assert client.portal is not None
    return client.portal


async def half_sent(client: TestClient) -> int:
    return await ask(client, "/read", nothing_more, **HALF)


def test_a_body_that_does_not_arrive_is_given_up(service: MakeService) -> None:
    client = service(BODY_SECONDS="0.2")
    began = time.perf_counter()

    assert portal(client).call(half_sent, client) == 408
    assert time.perf_counter() - began < 1.5


def test_a_body_that_no_route_reads_delays_no_other_request(service: MakeService) -> None:
    client = service()

    async def to_nowhere() -> int:
        return await ask(client, "/nowhere", nothing_more, **HALF)

    assert portal(client).call(to_nowhere) == 404


def test_half_sent_requests_of_one_source_take_a_quarter_of_its_share(service: MakeService) -> None:
    client = service()
    begun = [portal(client).start_task_soon(half_sent, client) for _ in range(8)]
    time.sleep(0.3)

    assert client.get("/other").status_code == 200
    assert client.post("/read", json={"a": 1}).status_code == 429
    assert sorted(answer.result() for answer in begun) == [408] * 3 + [429] * 5
    assert client.post("/read", json={"a": 1}).status_code == 200


def test_half_sent_requests_of_many_sources_leave_room_for_all_others(
    service: MakeService, make_client: MakeClient
) -> None:
    client = service()
    many = [make_client(client.app, address=f"203.0.113.{number}") for number in range(2, 12)]  # type: ignore[arg-type]
    begun = [portal(client).start_task_soon(half_sent, one) for one in many for _ in range(3)]
    time.sleep(0.3)

    assert client.get("/other").status_code == 200
    assert sorted(answer.result() for answer in begun) == [408] * 16 + [503] * 14


def test_sockets_of_one_source_are_bounded(service: MakeService, make_client: MakeClient) -> None:
    client = service(MAX_IN_FLIGHT_OF_ONE_SOURCE="4")
    other = make_client(client.app, address="203.0.113.2")  # type: ignore[arg-type]
    opened = [client.websocket_connect("/socket") for _ in range(4)]
    for socket in opened:
        socket.__enter__()

    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket"):
        pass
    with other.websocket_connect("/socket"):
        pass
    assert client.get("/other").status_code == 200  # requests have places of their own
    for socket in opened:
        socket.close()
        socket.__exit__(None, None, None)
    with client.websocket_connect("/socket"):
        pass

    assert (refused.value.status_code, refused.value.headers["retry-after"]) == (429, "1")
