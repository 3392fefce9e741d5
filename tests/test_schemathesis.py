"""Made-up requests, from the service's own document: no server error, and no answer that it does not name."""

import re
from collections.abc import Callable

import pytest
import requests

from tests.rendering import Project
from tests.test_real_server import CREATE, NAME, PASSWORD, served
from tests.variants import ALL, COMBINATIONS, SMALLEST

pytestmark = [pytest.mark.slow, pytest.mark.server]

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
UNLIMITED = {"RATE_LIMIT": "1000000/minute"}
# What ends the session comes last: after it every answer is 401.
STAYING, LEAVING = (
    ("--exclude-path-regex", "^/auth/(logout|sessions)"),
    ("--include-path-regex", "^/auth/(logout|sessions)"),
)
VARIANTS = {"all": ALL, "keys only": SMALLEST["keys alone"], "log-ins only": COMBINATIONS["no_api_keys"]}


def _credential(project: Project, address: str) -> str:
    """The header of a caller who may do everything that anybody may."""
    if "users" in project.must("python", "-m", "app.manage", "--help"):
        project.must("python", "-c", CREATE.replace("password_hash=hashed", "password_hash=hashed, roles=['admin']"))
        form = {"grant_type": "password", "username": NAME, "password": PASSWORD}
        return f"Authorization: Bearer {requests.post(f'{address}/auth/token', form, timeout=5).json()['access_token']}"
    scopes = ["--scope", "notes:read", "--scope", "notes:write"]
    key = project.must("python", "-m", "app.manage", "keys", "issue", "--account", "fuzz", *scopes).strip()
    return f"X-API-Key: {key}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_request_breaks_the_service_or_its_document(project: Callable[..., Project], variant: str) -> None:
    service = project(**VARIANTS[variant])

    with served(service, "fastapi", "dev", "--no-reload", **UNLIMITED) as address:
        credential = _credential(service, address)
        said = [_run(service, address, credential, *operations) for operations in (STAYING, LEAVING)]

    assert "Authentication failed" not in said[0]
    assert int(re.findall(r"(\d+) generated", said[0])[-1]) > 100


def _run(service: Project, address: str, credential: str, *operations: str) -> str:
    """Ask about these operations. Fails where an answer is wrong."""
    command = ["schemathesis", "run", f"{address}/openapi.json", "--checks", CHECKS, "--seed", "1", "--no-color"]
    command += ["--max-examples", "20", "--phases", "examples,coverage,fuzzing", "-H", credential, *operations]
    done = service.run(*command)
    assert done.returncode == 0 or "No operations" in done.stdout, done.stdout[-6000:]
    return done.stdout
