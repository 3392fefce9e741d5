"""Where a request comes from is what the network and our own proxies say, and nothing that a caller writes."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.http.client_address import OF_NOBODY, OF_PROXIES
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


def addresses(recorded: list[dict[str, Any]]) -> list[str]:
    return [event["client_ip"] for event in recorded if event["event"] == "request"]


FORWARDED = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.2", "X-Forwarded-Proto": "https"}


def test_nobody_but_a_configured_proxy_says_where_a_request_comes_from(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(address="198.51.100.1", production=True, TRUSTED_PROXIES="10.0.0.0/24")

    client.get("/things", headers=FORWARDED)
    client.get("/things", headers={"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"})

    assert addresses(recorded) == ["198.51.100.1"] * 2


def test_through_proxies_the_last_address_that_is_none_of_theirs_counts(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(address="10.0.0.1", production=True, TRUSTED_PROXIES="10.0.0.0/24")

    client.get("/things", headers=FORWARDED)
    client.get("/things", headers={"X-Forwarded-For": "what is this"})

    assert addresses(recorded) == ["203.0.113.9", "unknown"]


def add_routes(app: FastAPI) -> None:
    @app.get("/seen", dependencies=[public])
    async def seen(request: Request) -> list[str]:
        return request.headers.keys()


def seen(make_client: MakeClient, address: str, *names: str) -> set[str]:
    """Which of these headers reach a route, from this address."""
    proxies = {"TRUSTED_PROXIES": "10.0.0.0/24", "DEVELOPMENT_NETWORKS": "10.0.0.0/24, 198.51.100.0/24"}
    client: TestClient = make_client(build=lambda: assemble(add_routes), address=address, **proxies)
    return {*client.get("/seen", headers=dict.fromkeys(names, "203.0.113.9")).json()} & {*names}


def in_other_forms(name: str) -> set[str]:
    """With all of its dashes as underscores, and with the first or the last alone."""
    first, last = name.replace("-", "_", 1), "_".join(name.rsplit("-", 1))
    return {name.replace("-", "_"), first, last} - {name}


OTHER_FORMS = {form for name in (*OF_NOBODY, *OF_PROXIES) for form in in_other_forms(name)}


def test_no_route_sees_what_a_stranger_claims_to_be(make_client: MakeClient) -> None:
    claims = {*OF_NOBODY, *OF_PROXIES, *OTHER_FORMS}

    assert seen(make_client, "198.51.100.1", *claims, "accept", "x-mine", "x_mine") == {"accept", "x-mine", "x_mine"}


def test_a_proxy_of_ours_is_believed_in_its_own_headers_alone(make_client: MakeClient) -> None:
    assert seen(make_client, "10.0.0.1", *OF_NOBODY, *OF_PROXIES, *OTHER_FORMS) == {*OF_PROXIES}
