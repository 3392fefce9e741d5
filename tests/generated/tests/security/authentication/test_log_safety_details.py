"""What is written down: one JSON object a line, from an allow-list of fields, and never a secret."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import Caller, public
from tests.security.build_app import assemble
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient

FIELDS = {
    *("actor", "app_version", "client_ip", "client_request_id", "event", "method", "milliseconds", "outcome", "reason"),
    *("request_id", "route", "status", "subject", "time", "user_agent"),
}
NASTY = "a\r\nb\n{}\x1b[31m\x85\u2028\u2029\x0bc" + "x" * 10_000
CANARY = "canary-2f7c1e"


def add_routes(app: FastAPI) -> None:
    @app.get("/failing/{name}", dependencies=[public])
    async def failing(name: str) -> None:
        raise RuntimeError("the recipe is in the cellar")

    @app.get("/number/{number}")
    async def number(number: int, caller: Caller) -> None: ...


@pytest.fixture(params=["production", "development"])
def client(request: pytest.FixtureRequest, make_client: MakeClient, environment: Callable[..., None]) -> TestClient:
    production = request.param == "production"
    environment(**PRODUCTION_ENVIRONMENT if production else {})
    return make_client(assemble(add_routes), production=production)


def use_everything(client: TestClient, text: str) -> list[Any]:
    """Put this text wherever a caller can put text."""
    headers = {"Authorization": f"Bearer {text}", "X-API-Key": text, "Cookie": f"session={text}", "User-Agent": "x"}
    form = {"grant_type": "password", "username": text, "password": text, "scope": "", text: text}
    return [
        client.get(f"/users/me?access_token={text}", headers=headers),
        client.get("/number/x", headers=headers, params={text: text}),
        client.get(f"/failing/{text}", headers=headers, params={"q": text}),
        client.get(f"/{text}"),
        client.request(text[:20], "/users/me"),
        client.post("/auth/token", data=form),
        client.post("/auth/token", data={"grant_type": text}),
        client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": f"rt_{text}"}),
        client.post("/auth/revoke", data={"token": text}),
        client.post("/auth/activate", json={"token": text, "password": text}),
        client.post("/auth/activate", json={"token": [text], "password": {text: text}, text: text}),
        client.post("/auth/activate", content=text, headers={"Content-Type": "application/json"}),
        client.post("/auth/activate", content=text, headers={"Content-Type": text}),
    ]


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
    client.post("/auth/token", data=form, headers=agent)  # a failed log-in, and a request
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
