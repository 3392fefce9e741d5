"""Every response says how much of the limit is left, in the headers of draft-ietf-httpapi-ratelimit-headers."""

import re

from fastapi import FastAPI, Request

from app.security.access.identity import public
from app.security.rate_limits import limiter
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.limits.limited_routes import MakeLimited, limited

__all__ = ["limited"]  # a fixture


def test_a_response_says_how_much_is_left_and_until_when(limited: MakeLimited) -> None:
    client = limited("3/minute")

    responses = [client.get("/direct") for _ in range(4)]

    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    found = [re.fullmatch(r'"default";r=(\d+);t=(\d+)', response.headers["ratelimit"]) for response in responses]
    assert [int(match[1]) for match in found if match] == [2, 1, 0, 0]
    assert all(0 < int(match[2]) <= 120 for match in found if match)
    assert {response.headers["ratelimit-policy"] for response in responses} == {'"default";q=3;w=60'}


def test_refusals_say_so_too(limited: MakeLimited) -> None:
    client = limited("3/minute")

    refused = [client.get("/nowhere"), client.get("/mine")]

    assert [response.headers["ratelimit"][:13] for response in refused] == ['"default";r=2', '"default";r=1']


def test_the_refusal_of_a_route_limit_has_its_own_limit_alone(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/once", dependencies=[public])
        @limiter.limit("1/minute")
        def once(request: Request) -> None: ...

    client = make_client(build=lambda: assemble(add))
    client.get("/once")

    refused = client.get("/once")

    assert refused.status_code == 429
    assert refused.headers.get_list("ratelimit-policy") == ['"route";q=1;w=60']
    assert refused.headers.get_list("ratelimit")[0].startswith('"route";r=0')


def test_the_liveness_probe_has_no_limit(limited: MakeLimited) -> None:
    assert "ratelimit" not in limited().get("/health/live").headers
