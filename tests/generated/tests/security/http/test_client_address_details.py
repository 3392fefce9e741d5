"""A proxy is the same one whatever kind of socket it reaches."""

from typing import Any

from tests.security.fixtures import MakeClient


def test_a_proxy_is_trusted_on_a_socket_for_both_ip_versions(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client(production=True, address="::ffff:10.0.0.1", TRUSTED_PROXIES="10.0.0.0/24")

    answer = client.get("/nothing", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})

    assert answer.status_code == 404
    assert [one["client_ip"] for one in recorded if one["event"] == "request"] == ["203.0.113.9"]
