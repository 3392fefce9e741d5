"""Settings of logging in keep to their floors and ceilings, and the documents say where to log in."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.security.core import settings
from tests.security.fixtures import PRODUCTION_ENVIRONMENT
from tests.security.http.test_api_docs import openapi

WEAK = {
    "ACCESS_TOKEN_MINUTES": "16",
    "ARGON2_MEMORY_KIB": "1024",
    "ARGON2_ITERATIONS": "1",
    "SESSION_DAYS": "365",
    "SESSION_IDLE_DAYS": "8",
    "SESSIONS_PER_ACCOUNT": "101",
    "REFRESH_REUSE_LEEWAY_SECONDS": "61",
}


@pytest.mark.parametrize(("name", "value"), WEAK.items())
def test_a_weak_setting_is_named(environment: Callable[..., None], name: str, value: str) -> None:
    environment(**PRODUCTION_ENVIRONMENT | {name: value})

    assert [line for line in settings.problems() if name in line]


@pytest.mark.slow
def test_authorize_in_the_docs_has_the_token_url(client: TestClient) -> None:
    scheme = openapi(client)["components"]["securitySchemes"]["bearer"]

    assert scheme["flows"]["password"]["tokenUrl"] == "auth/token"
    assert sorted(scheme["flows"]["password"]["scopes"]) == client.app.state.policies.scopes()  # type: ignore[attr-defined]
