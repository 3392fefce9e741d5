"""The API documents exist in development alone, and load nothing from other hosts."""

import base64
import hashlib
import re
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.credentials import Credentials
from app.security.compose import fastapi_options, secure
from tests.security.every_route import guarded_calls
from tests.security.fixtures import MakeClient

DOCUMENTS = ("/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui-bundle.js", "/docs/oauth2-redirect")


def openapi(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_production_has_no_documents(make_client: MakeClient) -> None:
    client = make_client(production=True)

    assert [client.get(path).status_code for path in DOCUMENTS] == [404] * len(DOCUMENTS)


@pytest.mark.slow
def test_the_page_loads_nothing_from_other_hosts(client: TestClient) -> None:
    page = client.get("/docs")

    assert page.status_code == 200
    assert re.findall(r"(?:https?:)?//[\w.-]+", page.text) == []
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(asset).status_code == 200, asset


@pytest.mark.slow
def test_the_csp_of_the_page_allows_its_own_scripts_by_hash(client: TestClient) -> None:
    page = client.get("/docs")
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]

    policy = page.headers["content-security-policy"]

    assert hashes
    assert all(f"'sha256-{found}'" in policy for found in hashes)
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.slow
def test_every_guarded_operation_names_its_scopes(client: TestClient) -> None:
    paths = openapi(client)["paths"]
    credentials: Credentials = client.app.state.credentials  # type: ignore[attr-defined]

    for call in guarded_calls(client):
        operation = paths.get(re.sub(r":\w+}", "}", call.policy.path), {}).get(call.method.lower())
        if operation is None:  # a WebSocket, or include_in_schema=False
            continue
        kinds = [kind.name for kind in credentials.kinds if call.policy.scopes or not kind.always_limited]
        assert operation["security"] == [{name: sorted(call.policy.scopes)} for name in kinds], call.policy.name


@pytest.mark.slow
def test_the_document_keeps_the_owners_title_tags_and_servers(make_client: MakeClient) -> None:
    given: dict[str, Any] = {
        "summary": "Orders",
        "terms_of_service": "https://example.com/terms",
        "contact": {"name": "Support"},
        "license_info": {"name": "MIT"},
        "servers": [{"url": "https://api.example.com"}],
        "openapi_tags": [{"name": "orders"}],
    }

    def build() -> FastAPI:
        app = FastAPI(**fastapi_options(), **given)
        secure(app)
        return app

    document = openapi(make_client(build=build))

    info = {"summary": "Orders", "termsOfService": "https://example.com/terms", "contact": {"name": "Support"}}
    assert document["info"].items() >= (info | {"license": {"name": "MIT"}}).items()
    assert (document["servers"], document["tags"]) == (given["servers"], given["openapi_tags"])
