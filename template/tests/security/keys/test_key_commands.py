"""`manage keys`: keys of service accounts, issued and revoked at the terminal."""

import pytest
from starlette.testclient import TestClient

from tests.security.fixtures import MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.terminal import Manage

ISSUE = ("issue", "--account", "billing", "--scope", "vault:read")


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


@pytest.fixture
def keys(client: TestClient, manage: Manage) -> Manage:
    """Type `manage keys …` while the service runs on the same database."""
    return lambda *arguments: manage("keys", *arguments, load=app_with_a_vault)


@pytest.mark.slow
def test_a_key_is_printed_alone_and_calls_as_its_account(keys: Manage, client: TestClient) -> None:
    result = keys(*ISSUE, "--name", "nightly", "--days", "30")

    key = result.stdout.strip()
    listing = keys("list", "--account", "billing").stdout
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert client.get("/vault", headers={"X-API-Key": key}).json()["name"] == "billing"
    assert [words in listing for words in ("nightly", f"…{key[-4:]}", "vault:read")] == [True] * 3
    assert key.rpartition("_")[2] not in listing


@pytest.mark.slow
def test_no_key_is_issued_for_more_than_a_year(keys: Manage) -> None:
    assert keys(*ISSUE, "--days", "366").exit_code == 2
