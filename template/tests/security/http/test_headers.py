"""Every response has the security headers, errors included."""

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from tests.security.build_app import assemble, caller_of
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.sample_resource import app_of_things, client_of_things  # noqa: F401

EXPECTED = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; base-uri 'none'; object-src 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
TRANSPORT = {"strict-transport-security": "max-age=63072000; includeSubDomains"}
JSON = {"Content-Type": "application/json"}

ANSWERS: dict[str, tuple[int, str, str, dict[str, object]]] = {
    "200": (200, "GET", "/things", {}),
    "201": (201, "POST", "/things", {"json": {"title": "x"}}),
    "400 host": (400, "GET", "/things", {"headers": {"Host": "evil.example.com"}}),
    "400 json": (400, "POST", "/things", {"content": b"{", "headers": JSON}),
    "401": (401, "GET", "/things", {"headers": {"Authorization": "", "X-API-Key": ""}}),
    "404 route": (404, "GET", "/nothing", {}),
    "404 row": (404, "DELETE", "/things/00000000-0000-4000-8000-000000000000", {}),
    "405": (405, "PUT", "/things", {}),
    "413": (413, "POST", "/things", {"content": b" " * 1_100_000, "headers": JSON}),
    "414": (414, "GET", f"/things?{'x' * 5000}", {}),
    "415": (415, "POST", "/things", {"content": b"x"}),
    "422": (422, "POST", "/things", {"json": {}}),
    "431": (431, "GET", "/things", {"headers": {"X-Long": "x" * 17_000}}),
}


def said(client: TestClient, kind: str) -> dict[str, str]:
    status, method, path, how = ANSWERS[kind]
    answer = client.request(method, path, **how)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    return dict(answer.headers)


@pytest.mark.slow
def test_every_response_has_the_security_headers(as_caller: AsCaller) -> None:
    caller = as_caller()

    for kind in ANSWERS:
        headers = said(caller, kind)
        assert {name: headers.get(name) for name in EXPECTED} == EXPECTED, kind
        assert headers.keys().isdisjoint({"strict-transport-security", "set-cookie"}), kind


def test_production_adds_strict_transport_security(make_client: MakeClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=make_client(build=app_of_things, production=True))

    for kind in ANSWERS:
        headers = said(caller, kind)
        assert {name: headers.get(name) for name in EXPECTED | TRANSPORT} == EXPECTED | TRANSPORT, kind


@pytest.mark.slow
def test_strict_transport_security_is_sent_over_https_alone(make_client: MakeClient) -> None:
    client = make_client(address="10.0.0.1", production=True, TRUSTED_PROXIES="10.0.0.0/24")

    plain = [client.get(f"http://api.example.com{path}") for path in ("/health/live", "/things")]
    forwarded = client.get("http://api.example.com/health/live", headers={"X-Forwarded-Proto": "https"})

    assert [answer for answer in plain if "strict-transport-security" in answer.headers] == []
    assert forwarded.headers["strict-transport-security"] == TRANSPORT["strict-transport-security"]


async def once(scope: Scope, receive: Receive, send: Send) -> None:
    """An app below ours whose headers can be read a single time, as ASGI allows."""
    headers = iter([(b"location", b"/elsewhere"), (b"cache-control", b"public")])
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


@pytest.mark.slow
def test_a_header_that_the_response_sets_is_kept() -> None:
    app = assemble(lambda app: app.mount("/below", once), public=["/below"])

    headers = caller_of(app).get("/below/").headers

    assert (headers["location"], headers["cache-control"]) == ("/elsewhere", "public")
    assert headers["x-content-type-options"] == "nosniff"
