"""Every logger writes lines of one form, in which credentials are redacted."""

import logging
import time

import pytest
from starlette.testclient import TestClient

from app.security.core import logs
from tests.security.captured_logs import Capture, written
from tests.security.core.test_log_lines import (
    client,  # noqa: F401
)

TOKENS = {
    "access token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    "refresh token": "rt_" + "a1B2" * 11,
    "invitation": "ot_" + "a1B2" * 11,
    "API key": "service_live_" + "a1B2" * 15,
    "hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
    "password in an address": "hunter2hunter2",
    "input that pydantic quotes": "hunter2-model",
    "key that PostgreSQL quotes": "hunter2)-unique",
    "object that FastAPI quotes": "hunter2-response",
}

QUOTED = {
    "password in an address": "postgresql://api:{}@db/api",
    "input that pydantic quotes": "should be a valid integer [type=int_parsing, input_value='{}', input_type=str]",
    "object that FastAPI quotes": "{{'type': 'missing', 'loc': ('response', 'id'), 'input': {{'password': '{}'}}}}",
    "key that PostgreSQL quotes": "DETAIL:  Key (pin)=({}) already exists.",
}


def test_the_servers_own_access_log_is_off_since_it_shows_query_strings(client: TestClient, capsys: Capture) -> None:
    written(capsys)

    logging.getLogger("uvicorn.access").info('"GET /open?token=hunter2 HTTP/1.1" 200')
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "127.0.0.1:9", "/open?token=hunter2")

    assert written(capsys) == ""


@pytest.mark.parametrize("kind", TOKENS)
def test_what_looks_like_a_secret_is_hidden_in_every_loggers_lines(
    client: TestClient, capsys: Capture, kind: str
) -> None:
    secret = TOKENS[kind]
    text = QUOTED.get(kind, "cannot use {}").format(secret)

    logging.getLogger("some.library").warning("failed: %s", text)
    logging.getLogger("some.library").error("failed", exc_info=ValueError(text))

    output = written(capsys)
    assert output.count("[redacted]") == 2
    assert secret not in output


def test_redaction_takes_linear_time() -> None:
    started = time.perf_counter()

    logs.redact("eyJ" * 100_000)

    assert time.perf_counter() - started < 1  # quadratic: a minute
