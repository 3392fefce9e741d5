"""A proxy is the same one whatever kind of socket it reaches, and nothing else names one."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from app.security.core import settings
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient


@pytest.mark.parametrize(("value", "refused"), [("*", True), ("10.0.0.5, 0.0.0.0/0", True), ("127.0.0.1", False)])
def test_production_refuses_a_server_that_believes_the_headers_of_everybody(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch, value: str, refused: bool
) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", value)

    assert any("FORWARDED_ALLOW_IPS: remove it" in one for one in settings.problems()) == refused
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app.main:app", f"--forwarded-allow-ips={value}"])
    assert any("FORWARDED_ALLOW_IPS: remove it" in one for one in settings.problems()) == refused


@pytest.mark.parametrize(
    ("address", "proxies"), [("::ffff:10.0.0.1", "10.0.0.0/24"), ("10.1.0.9", "10.1.0.5/16"), ("fd00::9", "fd00::1/64")]
)
def test_a_proxy_is_trusted_by_its_mapped_address_and_by_a_network_with_host_bits(
    make_client: MakeClient, recorded: list[dict[str, Any]], address: str, proxies: str
) -> None:
    client = make_client(production=True, address=address, TRUSTED_PROXIES=proxies)

    answer = client.get("/nothing", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})

    assert answer.status_code == 404
    assert [one["client_ip"] for one in recorded if one["event"] == "request"] == ["203.0.113.9"]
