"""Log lines of several threads, and of hostile requests."""

import re
from collections.abc import Callable
from threading import Thread

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.core import logs
from tests.security.build_app import assemble
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient


def add_routes(app: FastAPI) -> None:
    @app.get("/open", dependencies=[public])
    async def anyone() -> None: ...


@pytest.fixture(params=["production", "development"])
def client(request: pytest.FixtureRequest, make_client: MakeClient, environment: Callable[..., None]) -> TestClient:
    production = request.param == "production"
    environment(**PRODUCTION_ENVIRONMENT if production else {})
    return make_client(assemble(add_routes), production=production)


def test_a_request_is_one_line_with_any_characters(client: TestClient, capsys: Capture) -> None:
    odd = "a\r\nb\n{}\x1b[31m\x85c".encode("latin-1")
    written(capsys)

    client.get("/open", headers={"User-Agent": odd, "X-Request-ID": odd})
    client.request("G\r\n\x1bT", "/open")

    lines = written(capsys).splitlines()
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)


def test_no_line_is_lost_or_repeated_when_threads_write(capsys: Capture) -> None:
    written(capsys)

    def write(thread: int) -> None:
        for number in range(500):
            logs.write({"event": f"<{thread}-{number}>"})

    threads = [Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = re.findall(r"<\d-\d+>", written(capsys))
    assert sorted(found) == sorted(f"<{thread}-{number}>" for thread in range(4) for number in range(500))
