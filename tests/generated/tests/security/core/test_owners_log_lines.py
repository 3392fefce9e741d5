"""An owner's own log calls: the request's id, and `extra`; and the access log that a developer reads."""

import json
import logging
import re
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.admission.request_body import Slots
from tests.security.build_app import assemble
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import MakeClient

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
log = logging.getLogger("owner")


def add_routes(app: FastAPI) -> None:
    @app.get("/orders/{number}", dependencies=[public])
    async def order(number: int) -> None:
        log.info("sold %s", number, extra={"price": 7, "lines": [{"sku": "a", "with": TOKEN}], "event": "mine"})


def production(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes), production=True)


def lines(capture: Capture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(capture).splitlines()]


def test_a_log_line_of_a_route_has_the_request_id_of_its_response(make_client: MakeClient, capsys: Capture) -> None:
    client = production(make_client)
    written(capsys)

    response = client.get("/orders/7")

    own, access = lines(capsys)
    assert own["message"] == "sold 7"
    assert own["request_id"] == access["request_id"] == response.headers["x-request-id"]


def test_extra_is_kept_without_credentials_and_renames_nothing_of_the_line(
    make_client: MakeClient, capsys: Capture
) -> None:
    client = production(make_client)
    written(capsys)

    client.get("/orders/7")

    own = lines(capsys)[0]
    assert (own["price"], own["event"]) == (7, "log")
    assert own["lines"] == [{"sku": "a", "with": "[redacted]"}]


def test_a_log_line_outside_of_requests_has_no_request_id(make_client: MakeClient, capsys: Capture) -> None:
    production(make_client)
    written(capsys)

    log.warning("started")

    (own,) = lines(capsys)
    assert own.keys() == {"event", "level", "logger", "message", "time"}


def test_extra_is_readable_in_development(make_client: MakeClient, capsys: Capture) -> None:
    client = make_client(build=lambda: assemble(add_routes))
    written(capsys)

    client.get("/orders/7")

    assert re.search(r"^info     sold 7 price=7 ", written(capsys), re.MULTILINE)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/orders/7", 200), ("GET", "/nowhere", 404), ("DELETE", "/orders/7", 405), ("GET", "/orders/x", 422)],
)
def test_in_development_a_request_is_one_line_with_its_path(
    make_client: MakeClient, capsys: Capture, method: str, path: str, status: int
) -> None:
    client = make_client(build=lambda: assemble(add_routes))
    written(capsys)

    client.request(method, f"{path}?q=1")

    line = written(capsys).splitlines()[-1]
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {method} +{path} +{status} +[\d.]+ ms  anonymous", line), line


def test_the_access_line_of_a_crash_in_a_layer_is_that_of_a_500(
    make_client: MakeClient, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = production(make_client)
    monkeypatch.setattr(Slots, "acquire", lambda *_: 1 / 0)
    written(capsys)

    response = client.get("/orders/7")

    assert response.status_code == 500
    assert [line["status"] for line in lines(capsys) if line["event"] == "request"] == [500]


def test_in_production_the_access_log_has_no_path(make_client: MakeClient, capsys: Capture) -> None:
    client = production(make_client)
    written(capsys)

    client.get("/nowhere")

    (access,) = lines(capsys)
    assert (access["route"], "path" in access) == (None, False)
