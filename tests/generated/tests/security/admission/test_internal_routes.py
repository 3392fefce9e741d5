"""An `internal` route needs neither the host name nor TLS, and serves direct clients of INTERNAL_NETWORKS alone."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from app.security.access.identity import public
from app.security.admission.request_guard import internal
from app.security.core.settings import problems
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

SCRAPER = {"Host": "10.0.3.7:8000"}


def add_routes(app: FastAPI) -> None:
    @app.get("/metrics", dependencies=[public, internal])
    async def metrics() -> str:
        return "up 1"

    @app.get("/ordinary", dependencies=[public])
    async def ordinary() -> None: ...


@pytest.mark.parametrize("address", ["10.0.3.9", "127.0.0.1", "192.168.1.5", "fd00::1", "::ffff:10.0.3.9"])
def test_a_scraper_calls_by_address_and_over_http(make_client: MakeClient, address: str) -> None:
    client = make_client(build=lambda: assemble(add_routes), production=True, address=address)

    assert client.get("http://10.0.3.7:8000/metrics", headers=SCRAPER).status_code == 200
    assert client.get("http://10.0.3.7:8000/ordinary", headers=SCRAPER).status_code == 400
    assert client.get("http://api.example.com/ordinary").status_code == 403


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::1", "a-name"])
def test_nobody_else_does(make_client: MakeClient, address: str) -> None:
    client = make_client(build=lambda: assemble(add_routes), production=True, address=address)

    assert client.get("http://10.0.3.7/metrics").status_code == 403


@pytest.mark.parametrize("trusted", ["10.0.3.9", "10.0.0.0/8"])
@pytest.mark.parametrize("client_address", ["203.0.113.9", "10.0.3.200", None])
def test_nobody_does_through_a_proxy(make_client: MakeClient, trusted: str, client_address: str | None) -> None:
    proxy = make_client(
        build=lambda: assemble(add_routes), production=True, address="10.0.3.9", TRUSTED_PROXIES=trusted
    )
    forwarded = {"X-Forwarded-Proto": "https"} | ({"X-Forwarded-For": client_address} if client_address else {})

    assert proxy.get("https://api.example.com/ordinary", headers=forwarded).status_code == 200
    assert proxy.get("https://10.0.3.7/metrics", headers=forwarded).status_code == 403


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "X_Forwarded_For", "X-Real-IP", "Via", "Forwarded"]
)
def test_nobody_does_through_a_proxy_that_is_not_trusted(make_client: MakeClient, name: str) -> None:
    proxy = make_client(build=lambda: assemble(add_routes), production=True, address="10.0.3.9")

    assert proxy.get("http://10.0.3.7/metrics").status_code == 200
    assert proxy.get("http://10.0.3.7/metrics", headers={name: "203.0.113.9"}).status_code == 403


@pytest.mark.parametrize("host", ["api.example.com", "rebound.example", "10.0.3.7.example"])
def test_nobody_does_by_a_public_name(make_client: MakeClient, host: str) -> None:
    scraper = make_client(build=lambda: assemble(add_routes), production=True, address="10.0.3.9")

    assert scraper.get("http://api:8000/metrics").status_code == 200
    assert scraper.get(f"http://{host}/metrics").status_code == 403


def test_a_client_that_claims_to_be_internal_is_not(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_routes), production=True, address="203.0.113.9")

    assert client.get("https://10.0.3.7/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403


def test_the_networks_are_a_setting(make_client: MakeClient) -> None:
    client = make_client(
        build=lambda: assemble(add_routes), production=True, address="10.0.3.9", INTERNAL_NETWORKS="10.9.0.0/16"
    )

    assert client.get("http://10.0.3.7/metrics").status_code == 403


def test_an_invalid_network_fails_the_start(environment: Callable[..., None]) -> None:
    environment(FASTAPI_ENV="production", INTERNAL_NETWORKS="everyone")

    assert [problem for problem in problems() if problem.startswith("INTERNAL_NETWORKS: ")]
