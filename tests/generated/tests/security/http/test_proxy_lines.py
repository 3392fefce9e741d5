"""The proxy that docs/security/operations.md describes overwrites every header that the service believes."""

import logging
import re

import pytest

from app.security.core.settings import ROOT
from app.security.http.client_address import PASSED_ON, PROXY_HEADERS, warn_of_proxy
from tests.security.fixtures import MakeClient


def test_the_lines_for_nginx_overwrite_every_header_that_is_believed() -> None:
    lines = (ROOT / "docs/security/operations.md").read_text().split("```nginx\n", 1)[1].split("```", 1)[0]
    overwritten = {name.lower() for name in re.findall(r"proxy_set_header (\S+) ", lines)}

    assert overwritten == {*PROXY_HEADERS, "x-request-id", "host"}


def test_a_proxy_that_passes_on_the_address_that_a_client_claims_is_named_in_the_log_once(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """No client has an address of TEST-NET-1 (RFC 5737): the probes of deploy/ claim one."""
    warn_of_proxy.cache_clear()
    proxied = make_client(address="10.0.0.1", production=True, TRUSTED_PROXIES="10.0.0.1")
    claimed = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}

    with caplog.at_level(logging.WARNING):
        proxied.get("/health/live", headers={"X-Forwarded-For": "192.0.2.1, 203.0.113.9"})
        assert PASSED_ON not in caplog.text
        for _ in range(2):
            proxied.get("/health/live", headers=claimed)

    assert [record.getMessage() for record in caplog.records].count(PASSED_ON) == 1


def test_a_claim_of_a_client_without_a_proxy_is_no_reason_to_warn(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_proxy.cache_clear()
    direct = make_client(address="198.51.100.1", production=True, TRUSTED_PROXIES="10.0.0.1")

    direct.get("/health/live", headers={"X-Forwarded-For": "192.0.2.1"})

    assert PASSED_ON not in caplog.text
