"""The request id comes from us or from a trusted proxy."""

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient

Recorded = list[dict[str, Any]]


GIVEN = "0a1b2c3d-4e5f"


def ask(client: TestClient, recorded: Recorded, request_id: str) -> tuple[str, dict[str, Any]]:
    """The id in the answer, and the event."""
    recorded.clear()
    answer = client.get("/health/live", headers={"X-Request-ID": request_id.encode("latin-1")})
    return answer.headers["x-request-id"], recorded[0]


@pytest.mark.parametrize("odd", ["short", "x" * 65, "with space", "0a1b2c3d\n", "<0a1b2c3d>", "0a1b2c3dé"])
def test_an_odd_name_of_a_request_is_dropped(make_client: MakeClient, recorded: Recorded, odd: str) -> None:
    client = make_client(TRUSTED_PROXIES="127.0.0.1")

    shown, event = ask(client, recorded, odd)

    assert re.fullmatch("[0-9a-f]{32}", shown)
    assert odd not in map(str, event.values())


def test_a_trusted_proxy_names_the_request(make_client: MakeClient, recorded: Recorded) -> None:
    client = make_client(TRUSTED_PROXIES="127.0.0.1")

    shown, event = ask(client, recorded, GIVEN)

    assert (shown, event["request_id"]) == (GIVEN, GIVEN)


def test_any_other_client_only_adds_its_own_request_id(client: TestClient, recorded: Recorded) -> None:
    shown, event = ask(client, recorded, GIVEN)

    assert shown == event["request_id"] != GIVEN
    assert re.fullmatch("[0-9a-f]{32}", shown)
