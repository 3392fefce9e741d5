"""Lets every request of a test pass the web application firewall first, with rules generated for the app under test.

A plugin for the tests of a generated project: `-p waf_plugin`. What the firewall refuses reaches the app all the same,
so that the test goes on, and the app has to refuse it, too. A request that the app accepts is an error, and is listed.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from libmodsecurity import ModSecurity, RulesSet, Transaction
from starlette.testclient import TestClient

ENGINE = ModSecurity()
ENGINE.set_log_callback(lambda _: None)
LAID_OUT = Path(os.environ["WAF_FOLDER"])  # modsecurity.conf with the Core Rule Set
RULES: dict[int, tuple[Any, RulesSet | None]] = {}  # by the id of the app, which is kept
LOADED: dict[str, RulesSet] = {}  # by their text: most apps have the same routes
SEEN = {"passed": 0, "refused": 0}
ACCEPTED: list[tuple[str, str]] = []  # by the app, of what the firewall refused: the path and the test


def _rules(app: Any) -> RulesSet | None:
    from app.security.operations import waf

    if id(app) not in RULES:
        try:
            files = waf.render(app, names=False)
        except Exception:  # an app that is no service of ours, or that does not start
            RULES[id(app)] = app, None
        else:
            text = files[waf.RULES]
            RULES[id(app)] = app, LOADED.get(text) or LOADED.setdefault(text, _load(text))
    return RULES[id(app)][1]


def _load(text: str) -> RulesSet:
    loaded = RulesSet()
    with tempfile.TemporaryDirectory() as folder:
        for path in LAID_OUT.iterdir():
            if path.name != "app.conf":
                (Path(folder) / path.name).symlink_to(path)
        (Path(folder) / "app.conf").write_text(text)
        assert loaded.load_from_uri(f"{folder}/modsecurity.conf") >= 0, loaded.get_parser_error()
    return loaded


def _status(rules: RulesSet, request: Any, body: bytes) -> int:
    transaction = Transaction(ENGINE, rules)
    transaction.process_connection("203.0.113.7", 50000, "127.0.0.1", 443)
    transaction.process_uri(request.url.raw_path.decode("latin-1"), request.method, "1.1")
    for name, value in request.headers.raw:
        transaction.add_request_header(name.decode("latin-1"), value.decode("latin-1"))
    transaction.process_request_headers()
    if (stop := transaction.intervention()) and stop.disruptive:
        return int(stop.status)
    if body:
        transaction.append_request_body(body)
    transaction.process_request_body()
    stop = transaction.intervention()
    return int(stop.status) if stop and stop.disruptive else 0


@pytest.fixture(autouse=True)
def firewall(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    send, enter = TestClient.send, TestClient.__enter__

    def started(self: TestClient) -> TestClient:
        entered = enter(self)
        _rules(self.app)  # now: some tests look at what happens while a request runs
        return entered

    def through(self: TestClient, sent: Any, **options: Any) -> Any:
        rules = _rules(self.app)
        try:
            body = sent.read()
        except Exception:  # a stream of the test's own
            rules = None
        status = _status(rules, sent, body) if rules else 0
        response = send(self, sent, **options)
        if rules:
            SEEN["refused" if status else "passed"] += 1
        if status and response.status_code < 400:
            ACCEPTED.append((sent.url.path, request.node.name))
        return response

    monkeypatch.setattr(TestClient, "__enter__", started)
    monkeypatch.setattr(TestClient, "send", through)


def pytest_sessionfinish() -> None:
    Path(os.environ["WAF_REPORT"]).write_text(json.dumps(SEEN | {"accepted": ACCEPTED}))
