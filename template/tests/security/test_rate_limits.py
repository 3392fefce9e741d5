"""The limit before routing: whatever is asked for, it counts; and nobody is shut out by a neighbour."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.security.identity import Caller, public, require_scope
from tests.security.assembled import assemble
from tests.security.callers import AsCaller, CallerClient, client_from
from tests.security.fixtures import Database, MakeClient
from tests.security.timing import at_once, later

Recorded = list[dict[str, Any]]
MakeLimited = Callable[..., TestClient]
NETWORKS = "203.0.113.0/24, 2001:db8::/32"


def add_routes(app: FastAPI) -> None:
    included, nested = APIRouter(prefix="/included"), APIRouter(prefix="/nested")

    @app.get("/direct", dependencies=[public])
    @included.get("/route", dependencies=[public])
    @nested.get("/route", dependencies=[public])
    async def anything() -> str:
        return "served"

    @app.get("/mine", dependencies=[require_scope("mine:read")])
    async def mine(caller: Caller) -> UUID:
        return caller.id

    @app.get("/slow", dependencies=[public])
    async def slow() -> None:
        await asyncio.sleep(0.6)

    @app.websocket("/socket", dependencies=[public])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    included.include_router(nested)
    app.include_router(included)


@pytest.fixture
def limited(make_client: MakeClient) -> MakeLimited:
    def make(limit: str = "3/minute", **variables: str) -> TestClient:
        variables = {"DEVELOPMENT_NETWORKS": NETWORKS} | variables
        return make_client(build=lambda: assemble(add_routes), RATE_LIMIT=limit, **variables)

    return make


BAD_TOKEN = {"Authorization": "Bearer not-a-token"}
BAD_KEY = {"X-API-Key": "not-a-key"}
CALLS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "a route on the app": ("GET", "/direct", {}, 200),
    "a route in an included router": ("GET", "/included/route", {}, 200),
    "a route nested twice": ("GET", "/included/nested/route", {}, 200),
    "an unknown path": ("GET", "/nowhere", {}, 404),
    "a method that is not allowed": ("DELETE", "/direct", {}, 405),
    "no credential": ("GET", "/mine", {}, 401),
    "a bad token": ("GET", "/mine", BAD_TOKEN, 401),
    "a wrong key": ("GET", "/mine", BAD_KEY, 401),
    "health with its database": ("GET", "/health/ready", {}, 200),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
Call = tuple[str, str, dict[str, str], int]


@calls
def test_it_is_limited(limited: MakeLimited, call: Call) -> None:
    client, (method, path, headers, status) = limited(), call

    answers = [client.request(method, path, headers=headers).status_code for _ in range(5)]

    assert answers == [status] * 3 + [429] * 2


@calls
def test_it_is_not_while_there_is_room(limited: MakeLimited, call: Call) -> None:
    client, (method, path, headers, status) = limited("100/minute"), call

    assert {client.request(method, path, headers=headers).status_code for _ in range(20)} == {status}


def test_whether_the_process_lives_can_always_be_asked(limited: MakeLimited) -> None:
    client = limited()

    assert {client.get("/health/live").status_code for _ in range(10)} == {200}


def test_a_burst_is_limited_too(limited: MakeLimited) -> None:
    client = limited("1000/minute", RATE_LIMIT_BURST="4/second")

    with later(seconds=0):
        answers = [client.get("/direct").status_code for _ in range(30)]

    assert answers[:4] == [200] * 4
    assert answers.count(429) >= 15
    assert client.get("/direct").headers.get("ratelimit-policy", '"burst";q=4;w=1') == '"burst";q=4;w=1'


def test_a_socket_that_is_one_too_many_is_not_opened(limited: MakeLimited) -> None:
    client = limited("1/minute")
    with client.websocket_connect("/socket"):
        pass

    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/socket"):
        pass

    assert refused.value.code == 1008


def test_parallel_requests_are_no_way_around(limited: MakeLimited) -> None:
    client = limited("5/minute")

    answers = at_once([lambda: client.get("/direct").status_code] * 20)

    assert answers.count(200) == 5


# What a refusal says


def test_a_refusal_is_a_problem_that_says_when_to_come_back(limited: MakeLimited) -> None:
    client = limited()
    for _ in range(3):
        client.get("/direct")

    answer = client.get("/direct")

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 429
    assert re.fullmatch(r"[1-9]\d*", answer.headers["retry-after"])
    assert answer.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert answer.headers["ratelimit"] == f'"default";r=0;t={answer.headers["retry-after"]}'
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_who_waits_as_long_as_told_is_served(limited: MakeLimited) -> None:
    client = limited()
    wait = [client.get("/direct") for _ in range(4)][-1].headers["retry-after"]

    with later(seconds=int(wait)):
        assert client.get("/direct").status_code == 200


def test_it_is_one_event_a_minute_that_names_nobody(limited: MakeLimited, recorded: Recorded) -> None:
    client = limited()

    for _ in range(10):
        client.get("/direct", headers=BAD_KEY)

    found = [fields for fields in recorded if fields["event"] == "excess_rate_limit_exceeded"]
    assert len(found) == 1
    assert re.fullmatch("[0-9a-f]{32}", found[0]["subject"])
    assert [fields["reason"] for fields in recorded if fields.get("status") == 429] == ["rate_limit"] * 7


# Who is counted as one


def at(client: TestClient, make_client: MakeClient, address: str) -> TestClient:
    return make_client(client.app, address=address)  # type: ignore[arg-type]


def test_addresses_are_counted_apart(limited: MakeLimited, make_client: MakeClient) -> None:
    client = limited()
    for _ in range(5):
        client.get("/direct")

    assert at(client, make_client, "203.0.113.7").get("/direct").status_code == 200


def test_one_ipv6_customer_is_counted_as_one(limited: MakeLimited, make_client: MakeClient) -> None:
    client = limited()

    answers = [at(client, make_client, f"2001:db8::{number}").get("/direct").status_code for number in range(1, 6)]

    assert answers == [200] * 3 + [429] * 2
    assert at(client, make_client, "2001:db8:0:1::1").get("/direct").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X_Forwarded_For", "X-Real-IP", "Forwarded", "Client-IP"])
def test_what_a_stranger_says_of_their_address_changes_nothing(limited: MakeLimited, header: str) -> None:
    client = limited()

    answers = [client.get("/direct", headers={header: f"203.0.113.{number}"}).status_code for number in range(1, 6)]

    assert answers == [200] * 3 + [429] * 2


@pytest.mark.parametrize("seconds", ["5", "0"])
def test_a_noisy_neighbour_shuts_out_nobody_who_is_known(
    limited: MakeLimited, as_caller: AsCaller, seconds: str
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS=seconds)
    colleague = as_caller(client=client)
    assert colleague.get("/mine").status_code == 200
    noisy = client_from(client, CallerClient)
    colleague._transport.client = noisy._transport.client  # type: ignore[attr-defined]  # the same address
    while noisy.get("/direct").status_code != 429:
        pass

    assert [colleague.get("/mine").status_code for _ in range(3)] == [200] * 3


def test_half_sent_requests_of_a_neighbour_leave_room_for_who_is_known(
    limited: MakeLimited, as_caller: AsCaller
) -> None:
    client = limited("1000/minute", MAX_IN_FLIGHT_OF_ONE_SOURCE="4")
    colleague = as_caller(client=client)
    assert colleague.get("/mine").status_code == 200
    noisy = client_from(client, CallerClient)
    colleague._transport.client = noisy._transport.client  # type: ignore[attr-defined]  # the same address

    found = at_once([*[lambda: noisy.get("/slow").status_code] * 8, lambda: later_get(colleague)])

    assert found[:-1].count(429) == 4
    assert found[-1] == 200


def later_get(caller: TestClient) -> int:
    """Call when the others are under way."""
    time.sleep(0.3)
    return caller.get("/mine").status_code


def test_a_new_credential_behind_a_noisy_address_has_to_wait(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited()
    newcomer = as_caller(client=client)
    noisy = client_from(client, CallerClient)
    newcomer._transport.client = noisy._transport.client  # type: ignore[attr-defined]
    while noisy.get("/direct").status_code != 429:
        pass

    assert newcomer.get("/mine").status_code == 429


@pytest.mark.parametrize("seconds", ["5", "0"])
def test_one_account_from_many_addresses_is_one_account(
    limited: MakeLimited, as_caller: AsCaller, seconds: str
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS=seconds)
    caller = as_caller(client=client)
    answers = []
    for _ in range(50):
        elsewhere = client_from(client, CallerClient)
        elsewhere.headers.update(caller.headers)
        answers.append(elsewhere.get("/mine").status_code)

    assert answers.count(200) == 5
    assert set(answers) == {200, 429}


def test_whoever_holds_a_credential_that_ended_uses_up_nothing_of_its_owner(
    limited: MakeLimited, as_caller: AsCaller
) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS="0.2")
    owner = as_caller(client=client)
    assert owner.get("/mine").status_code == 200
    time.sleep(0.3)  # it was ended meanwhile, in another process
    thief = client_from(client, CallerClient)
    thief.headers.update(owner.headers)

    while thief.get("/nowhere").status_code != 429:  # where nobody verifies it
        pass

    assert owner.get("/mine").status_code == 200


def test_a_refused_credential_is_no_longer_counted_as_its_account(limited: MakeLimited, as_caller: AsCaller) -> None:
    client = limited("5/minute", AUTH_CACHE_SECONDS="0")
    caller = as_caller(client=client)
    assert caller.get("/mine").status_code == 200
    disable(client, caller)

    answers = [caller.get("/mine").status_code for _ in range(8)]

    assert answers.count(401) == 1 + 4  # one more as its account, then what its address has left


def disable(client: TestClient, caller: CallerClient) -> None:
    Database(client).rows("UPDATE accounts SET is_active = :no WHERE name = :name", no=False, name=caller.name)
