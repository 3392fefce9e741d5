"""Made-up requests, from the service's own document, with every check that schemathesis has."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import requests

from tests.nightly import rows
from tests.rendering import Project
from tests.test_real_server import CREATE, NAME, PASSWORD, served
from tests.variants import ALL, COMBINATIONS, SMALLEST

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.rotating(3)]

UNLIMITED = {"RATE_LIMIT": "1000000/minute"}
# Every check is on (they are left unnamed: named ones win over what follows); what is not as one expects, and why that
# is right.
SETTINGS = r"""
[checks.negative_data_rejection]
# A refusal too: a form longer than it may be is not read.
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429"]

[checks.positive_data_acceptance]
# What fits its schema may be wrong all the same (a password, a token, a name that cannot be shown, a scope that no
# route asks for, two credentials at once), and the answer says only that.
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429"]

[[operations]]
# No route takes a form by this method, and the body is judged first: a refusal, if not the expected one.
include-path-regex = "^/auth/(token|revoke)$"
checks.unsupported_method.enabled = false
"""
# Whoever calls these may have ended the own session: so each has a person of its own, and its answers count alone.
LEAVING = ("^/auth/logout$", "^/auth/sessions$", r"^/auth/sessions/\{", r"^/users/\{")
VARIANTS = {"all": ALL, "keys only": SMALLEST["keys alone"], "logins only": COMBINATIONS["no_api_keys"]}


@dataclass(frozen=True)
class Part:
    """Some operations, and the header of a caller who may do everything that anybody may."""

    credential: str
    chosen: tuple[str, str]


def _person(project: Project, address: str, number: int) -> str:
    name = f"{number}-{NAME}"
    project.must("python", "-c", CREATE.replace(NAME, name).replace("=hashed", "=hashed, roles=['admin']"))
    form = {"grant_type": "password", "username": name, "password": PASSWORD}
    return f"Authorization: Bearer {requests.post(f'{address}/auth/token', form, timeout=5).json()['access_token']}"


def _parts(project: Project, address: str) -> list[Part]:
    if "users" not in project.must("python", "-m", "app.manage", "--help"):
        scopes = ["--scope", "notes:read", "--scope", "notes:write"]
        key = project.must("python", "-m", "app.manage", "keys", "issue", "--account", "fuzz", *scopes).strip()
        return [Part(f"X-API-Key: {key}", ("--exclude-path-regex", "^$"))]
    callers = [_person(project, address, number) for number in range(len(LEAVING) + 1)]  # before guesses are made
    staying = Part(callers.pop(), ("--exclude-path-regex", "|".join(LEAVING)))
    return [
        staying,
        *(Part(*pair) for pair in zip(callers, (("--include-path-regex", path) for path in LEAVING), strict=True)),
    ]


@pytest.mark.parametrize("variant", rows(VARIANTS, now=["all"]))
def test_no_request_breaks_the_service_or_its_document(project: Callable[..., Project], variant: str) -> None:
    service = project(**VARIANTS[variant])
    service.write("schemathesis.toml", SETTINGS)

    with served(service, "fastapi", "dev", "--no-reload", **UNLIMITED) as address:
        said = [_run(service, address, part) for part in _parts(service, address)]

    assert "Authentication failed" not in said[0]
    assert int(re.findall(r"(\d+) generated", said[0])[-1]) > 100


def _run(service: Project, address: str, part: Part) -> str:
    """Ask about these operations. Fails where an answer is wrong."""
    command = ["schemathesis", "run", f"{address}/openapi.json", "--seed", "1", "--no-color"]
    command += ["--max-examples", "20", "--phases", "examples,coverage,fuzzing", "-H", part.credential, *part.chosen]
    done = service.run(*command)
    assert done.returncode == 0 or "No operations" in done.stdout, done.stdout[-6000:]
    return done.stdout
