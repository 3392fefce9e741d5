"""The client's address comes from the network and from trusted proxies, and never from the client."""

from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.http.client_address import IDENTITY_HEADERS, PROXY_HEADERS
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


def addresses(recorded: list[dict[str, Any]]) -> list[str]:
    return [event["client_ip"] for event in recorded if event["event"] == "request"]


FORWARDED = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.2", "X-Forwarded-Proto": "https"}


def test_only_a_trusted_proxy_sets_the_client_address(make_client: MakeClient, recorded: list[dict[str, Any]]) -> None:
    client = make_client(address="198.51.100.1", production=True, TRUSTED_PROXIES="10.0.0.0/24")

    client.get("/things", headers=FORWARDED)
    client.get("/things", headers={"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"})

    assert addresses(recorded) == ["198.51.100.1"] * 2


@pytest.mark.slow
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(address="10.0.0.1", production=True, TRUSTED_PROXIES="10.0.0.0/24")

    client.get("/things", headers=FORWARDED)
    client.get("/things", headers={"X-Forwarded-For": "what is this"})

    assert addresses(recorded) == ["203.0.113.9", "unknown"]


@pytest.mark.slow
def test_a_header_that_the_proxy_does_not_overwrite_is_believed(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    """So the proxy must overwrite X-Forwarded-For, X-Forwarded-Proto and X-Request-ID (operations.md)."""
    client = make_client(address="10.0.0.1", production=True, TRUSTED_PROXIES="10.0.0.1")

    given = client.get("/things", headers={"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "0a1b2c3d-4e5f"})

    assert addresses(recorded) == ["6.6.6.6"]
    assert given.headers["x-request-id"] == "0a1b2c3d-4e5f"


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


OTHER_FORMS = {form for name in (*IDENTITY_HEADERS, *PROXY_HEADERS) for form in in_other_forms(name)}


def test_no_identity_header_reaches_a_route(make_client: MakeClient) -> None:
    claimed = {
        "x-real-ip",
        "forwarded",
        "remote-user",
        "x-forwarded-host",
        *IDENTITY_HEADERS,
        *PROXY_HEADERS,
        *OTHER_FORMS,
    }

    assert seen(make_client, "198.51.100.1", *claimed, "accept", "x-mine", "x_mine") == {"accept", "x-mine", "x_mine"}


@pytest.mark.slow
def test_a_trusted_proxy_passes_on_its_own_headers_alone(make_client: MakeClient) -> None:
    assert seen(make_client, "10.0.0.1", *IDENTITY_HEADERS, *PROXY_HEADERS, *OTHER_FORMS) == {*PROXY_HEADERS}
