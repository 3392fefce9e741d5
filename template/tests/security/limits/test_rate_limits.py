"""The limit before routing: whatever is asked for, it counts, and its refusal says when to come back."""

import re
from typing import Any

import pytest
from starlette.testclient import WebSocketDenialResponse

from tests.security.limits.limited import MakeLimited, limited
from tests.security.timing import at_once, later

Recorded = list[dict[str, Any]]
__all__ = ["limited"]  # a fixture

BAD_TOKEN = {"Authorization": "Bearer not-a-token"}
BAD_KEY = {"X-API-Key": "not-a-key"}
CALLS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "a route on the app": ("GET", "/direct", {}, 200),
    "a route in an included router": ("GET", "/included/route", {}, 200),
    "a route nested twice": ("GET", "/included/nested/route", {}, 200),
    "an unknown path": ("GET", "/nowhere", {}, 404),
    "a method that is not allowed": ("DELETE", "/direct", {}, 405),
    "a parameter that is repeated": ("GET", "/direct?one=1&one=2", {}, 422),
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

    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket"):
        pass

    assert (refused.value.status_code, refused.value.json()["detail"]) == (429, "Too many requests.")
    assert refused.value.headers["ratelimit"].startswith('"default";r=0;t=')
    assert refused.value.headers["retry-after"]


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
