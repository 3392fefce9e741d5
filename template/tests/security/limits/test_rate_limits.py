"""The limit of each caller before routing: every request counts, and the refusal says when to come back."""

import re
from typing import Any

import pytest
from starlette.testclient import WebSocketDenialResponse

from tests.security.limits.limited_routes import MakeLimited, limited
from tests.security.timing import at_once, later

Recorded = list[dict[str, Any]]
__all__ = ["limited"]  # a fixture

BAD_KEY = {"X-API-Key": "not-a-key"}
CALLS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "a route on the app": ("GET", "/direct", {}, 200),
    "a route in an included router": ("GET", "/included/route", {}, 200),
    "a route nested twice": ("GET", "/included/nested/route", {}, 200),
    "an unknown path": ("GET", "/nowhere", {}, 404),
    "a method that is not allowed": ("DELETE", "/direct", {}, 405),
    "no credential": ("GET", "/mine", {}, 401),
    "an invalid token": ("GET", "/mine", {"Authorization": "Bearer not-a-token"}, 401),
    "an invalid key": ("GET", "/mine", BAD_KEY, 401),
    "the readiness probe": ("GET", "/health/ready", {}, 200),
}
Call = tuple[str, str, dict[str, str], int]


DAILY = ("a route on the app", "an unknown path", "no credential")


@pytest.mark.parametrize(
    "call",
    [pytest.param(call, id=name, marks=[pytest.mark.slow] * (name not in DAILY)) for name, call in CALLS.items()],
)
def test_every_request_is_limited(limited: MakeLimited, call: Call) -> None:
    client, (method, path, headers, status) = limited(), call

    statuses = [client.request(method, path, headers=headers).status_code for _ in range(5)]

    assert [statuses[:3], statuses[3:]] == [[status] * 3, [429] * 2]


@pytest.mark.slow
def test_the_liveness_probe_is_never_limited(limited: MakeLimited) -> None:
    client = limited()

    assert {client.get("/health/live").status_code for _ in range(10)} == {200}


@pytest.mark.slow
def test_a_burst_is_limited_too(limited: MakeLimited) -> None:
    client = limited("1000/minute", RATE_LIMIT_BURST="4/second")

    with later(seconds=0):
        responses = [client.get("/direct") for _ in range(30)]

    assert [response.status_code for response in responses[:4]] == [200] * 4
    refused = [response for response in responses if response.status_code == 429]
    assert len(refused) >= 15
    assert {response.headers["ratelimit-policy"] for response in refused} == {'"burst";q=4;w=1'}


@pytest.mark.slow
def test_parallel_requests_do_not_get_past_the_limit(limited: MakeLimited) -> None:
    client = limited("5/minute")

    statuses = at_once([lambda: client.get("/direct").status_code] * 20)

    assert statuses.count(200) == 5


@pytest.mark.slow
def test_a_websocket_beyond_the_limit_is_not_opened(limited: MakeLimited) -> None:
    client = limited("1/minute")
    with client.websocket_connect("/socket"):
        pass

    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket"):
        pass

    assert (refused.value.status_code, refused.value.json()["detail"]) == (429, "Too many requests.")
    assert refused.value.headers["retry-after"]


def test_a_rate_limited_response_is_a_problem_with_retry_after(limited: MakeLimited) -> None:
    client = limited()
    for _ in range(3):
        client.get("/direct")

    refused = client.get("/direct")

    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["status"] == 429
    assert refused.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert refused.headers["ratelimit"] == f'"default";r=0;t={refused.headers["retry-after"]}'
    assert not [name for name in refused.headers if name.startswith("x-ratelimit")]
    assert refused.headers["x-content-type-options"] == "nosniff"
    with later(seconds=int(refused.headers["retry-after"])):
        assert client.get("/direct").status_code == 200


@pytest.mark.slow
def test_it_is_one_event_a_minute_under_a_pseudonym(limited: MakeLimited, recorded: Recorded) -> None:
    client = limited()

    for _ in range(10):
        client.get("/direct", headers=BAD_KEY)

    found = [fields for fields in recorded if fields["event"] == "excess_rate_limit_exceeded"]
    assert len(found) == 1
    assert re.fullmatch("[0-9a-f]{32}", found[0]["subject"])
    assert [fields["reason"] for fields in recorded if fields.get("status") == 429] == ["rate_limit"] * 7
