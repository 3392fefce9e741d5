"""A page can set no header of a WebSocket: it sends its access token as a subprotocol."""

import json
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from app.security.access.identity import public, require_scope
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import Person, create_person, log_in_quietly

PAGE = {"Origin": "http://testserver"}


async def seen(socket: WebSocket) -> None:
    """Sends everything that a route, and middleware inside the protections, can see of the subprotocols."""
    chosen = socket.query_params.get("choose")
    await socket.accept(chosen)
    await socket.send_json([socket.scope["subprotocols"], socket.headers.get("sec-websocket-protocol")])
    await socket.receive_text()


def add_sockets(app: FastAPI) -> None:
    app.websocket("/known", dependencies=[require_scope("things:read")])(seen)
    app.websocket("/open", dependencies=[public])(seen)


@pytest.fixture
def page(make_client: MakeClient) -> TestClient:
    """Sends no header that a page cannot set."""
    made = make_client(build=lambda: assemble(add_sockets), AUTH_CACHE_SECONDS="1")
    made.headers.update(PAGE)
    return made


@pytest.fixture
def token(page: TestClient) -> str:
    person = Person(page.app)
    person.portal, person.id, person.address = page.portal, create_person(page, "ann@example.com"), "127.0.0.1"
    return str(log_in_quietly(person)["access_token"])


def test_a_page_opens_a_socket_with_its_access_token(page: TestClient, token: str) -> None:
    with page.websocket_connect("/known", subprotocols=["bearer", token]) as socket:
        assert socket.accepted_subprotocol == "bearer"
        assert socket.receive_json() == [["bearer"], "bearer"]


@pytest.mark.parametrize("before", [True, False])
def test_a_route_chooses_among_its_own_subprotocols(page: TestClient, token: str, before: bool) -> None:
    offered = ["chat.v1", "bearer", token] if before else ["bearer", token, "chat.v1"]
    with page.websocket_connect("/known?choose=chat.v1", subprotocols=offered) as socket:
        assert socket.accepted_subprotocol == "chat.v1"
        offered_to_the_route, header = socket.receive_json()
    assert sorted(offered_to_the_route) == ["bearer", "chat.v1"]
    assert header == ", ".join(offered_to_the_route)


@pytest.mark.parametrize("offered", [["bearer", "x.y.z"], ["bearer"], ["{token}"], ["{token}", "bearer"]])
def test_what_is_no_token_behind_bearer_opens_nothing(page: TestClient, token: str, offered: list[str]) -> None:
    sent = [one.format(token=token) for one in offered]
    with pytest.raises(WebSocketDenialResponse) as refused, page.websocket_connect("/known", subprotocols=sent):
        pass

    assert refused.value.status_code == 401
    assert "sec-websocket-protocol" not in refused.value.headers


def test_two_credentials_open_nothing(page: TestClient, token: str) -> None:
    page.headers["Authorization"] = f"Bearer {token}"
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        page.websocket_connect("/known", subprotocols=["bearer", token]),
    ):
        pass

    assert refused.value.status_code == 400


def test_a_page_of_a_foreign_origin_opens_nothing_with_a_stolen_token(page: TestClient, token: str) -> None:
    page.headers["Origin"] = "https://evil.example"
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        page.websocket_connect("/known", subprotocols=["bearer", token]),
    ):
        pass

    assert refused.value.status_code == 403


def test_the_token_is_in_no_log_line(page: TestClient, token: str, recorded: list[dict[str, Any]]) -> None:
    with page.websocket_connect("/open", subprotocols=["bearer", token]) as socket:
        assert socket.receive_json() == [["bearer"], "bearer"]

    assert recorded
    assert token not in json.dumps(recorded, default=str)


def test_a_socket_of_a_page_ends_with_its_session(page: TestClient, token: str) -> None:
    with page.websocket_connect("/known", subprotocols=["bearer", token]) as socket:
        socket.receive_json()
        Database(page).rows("UPDATE sessions SET ended_at = created_at")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert closed.value.code == 1008


def test_a_subprotocol_that_is_not_ascii_is_refused(page: TestClient) -> None:
    sent: Any = {"Sec-WebSocket-Protocol": b"bearer, \xff"}
    with pytest.raises(WebSocketDenialResponse) as refused, page.websocket_connect("/known", headers=sent):
        pass

    assert refused.value.status_code == 400
