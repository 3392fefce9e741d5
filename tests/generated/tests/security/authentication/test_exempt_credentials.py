"""Passwords and tokens may look like anything: the web application firewall skips them, by name."""

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.security.authentication.routes import router
from app.security.operations import waf
from tests.security.operations.test_waf_rules import exempt

EXEMPT = {
    f"POST {router.prefix}/token": ["ARGS:password", "ARGS:refresh_token", "REQUEST_BODY"],
    f"POST {router.prefix}/revoke": ["ARGS:token", "REQUEST_BODY"],
    f"POST {router.prefix}/activate": ["ARGS:json.token", "ARGS:json.password", "REQUEST_BODY"],
    "POST /users/me/password": ["ARGS:json.current_password", "ARGS:json.new_password", "REQUEST_BODY"],
    "GET /users/me": [],
}


@pytest.mark.parametrize("operation", EXEMPT)
def test_each_credential_in_a_body_is_exempt_and_nothing_else(client: TestClient, operation: str) -> None:
    assert exempt(waf.render(create_app(), names=False)[waf.RULES], operation) == EXEMPT[operation]
