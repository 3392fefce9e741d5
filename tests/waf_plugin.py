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
SEEN = {"passed": 0, "refused": 0}
ACCEPTED: list[str] = []  # by the app, of what the firewall refused


def _rules(app: Any) -> RulesSet | None:
    from app.security.operations import waf

    if id(app) not in RULES:
        try:
            files = waf.render(app, names=False)
        except Exception:  # an app that is no service of ours, or that does not start
            RULES[id(app)] = app, None
        else:
            with tempfile.TemporaryDirectory() as folder:
                for path in LAID_OUT.iterdir():
                    (Path(folder) / path.name).symlink_to(path)
                (Path(folder) / "app.conf").unlink(missing_ok=True)
                (Path(folder) / "app.conf").write_text(files[waf.RULES])
                loaded = RulesSet()
                assert loaded.load_from_uri(f"{folder}/modsecurity.conf") >= 0, loaded.get_parser_error()
            RULES[id(app)] = app, loaded
    return RULES[id(app)][1]


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
    send = TestClient.send

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
            ACCEPTED.append(f"{status} {sent.method} {sent.url.raw_path!r} {body[:200]!r} {request.node.name}")
        return response

    monkeypatch.setattr(TestClient, "send", through)


def pytest_sessionfinish() -> None:
    Path(os.environ["WAF_REPORT"]).write_text(json.dumps(SEEN | {"accepted": ACCEPTED}))
