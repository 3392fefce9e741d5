"""What is written down: one JSON object a line, from an allow-list of fields, and never a secret."""

import json
import re
from typing import Any

from starlette.testclient import TestClient

from tests.security.authentication.test_log_safety import (
    CANARY,
    client,  # noqa: F401
    use_everything,
)
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import MakeClient

FIELDS = {
    *("actor", "app_version", "client_ip", "client_request_id", "event", "method", "milliseconds", "outcome", "reason"),
    *("request_id", "route", "status", "subject", "time", "user_agent"),
}
NASTY = "a\r\nb\n{}\x1b[31m\x85\u2028\u2029\x0bc" + "x" * 10_000


def test_in_production_every_line_is_one_json_object_of_known_fields(make_client: MakeClient, capsys: Capture) -> None:
    client = make_client(production=True)
    use_everything(client, CANARY)

    lines = written(capsys).splitlines()

    assert len(lines) > 13
    for line in lines:
        fields = json.loads(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields["time"])
        if fields["event"] != "log":
            assert fields.keys() <= FIELDS
            assert len(fields.get("user_agent", "")) <= 200


def test_nothing_that_is_sent_makes_a_second_line(client: TestClient, capsys: Capture) -> None:
    odd = NASTY[:1000].encode("latin-1", "replace")
    agent = {"User-Agent": odd, "X-Request-ID": odd}
    form = {"grant_type": "password", "username": NASTY, "password": NASTY}
    written(capsys)

    client.get("/users/me", headers=agent)  # a request
    client.post("/auth/token", data=form, headers=agent)  # a failed login, and a request
    client.request("G\r\n\x1bT", "/users/me")

    lines = written(capsys).splitlines()
    assert len(lines) == 4
    assert "\x1b" not in "".join(lines)


def test_a_credential_in_the_wrong_header_is_not_written_down(
    make_client: MakeClient, recorded: list[dict[str, Any]]
) -> None:
    client = make_client()
    token = f"rt_{CANARY.replace('-', '_')}_{'x' * 20}"

    for agent in (f"agent/1 {token}", "x" * 190 + f" {token}"):  # the second would be cut within it
        client.post("/users/me/nothing", headers={"User-Agent": agent})
        client.get("/number/x", headers={"User-Agent": agent})
        client.post(
            "/auth/token",
            data={"grant_type": "password", "username": "x", "password": "y" * 9},
            headers={"User-Agent": agent},
        )

    agents = [event["user_agent"] for event in recorded if "user_agent" in event]
    assert len(agents) >= 2
    assert [agent for agent in agents if token[:9] in agent] == []
    assert agents[0] == "agent/1 [redacted]"
