"""`manage keys`: keys of service accounts, issued and revoked at the terminal."""

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core import settings
from app.security.keys.store import parse
from tests.security.fixtures import Database
from tests.security.keys.test_key_commands import ISSUE, client_of_the_vault, keys  # noqa: F401
from tests.security.terminal import Manage


def status(client: TestClient, key: str) -> int:
    return client.get("/vault", headers={"X-API-Key": key}).status_code


def listed(keys: Manage) -> list[str]:
    """The ids of the live keys of billing."""
    return [line.split()[0] for line in keys("list", "--account", "billing").stdout.splitlines() if line]


def test_one_key_or_every_key_of_an_account_is_revoked(keys: Manage, client: TestClient) -> None:
    made = [keys(*ISSUE).stdout.strip() for _ in range(3)]

    one = keys("revoke", "--account", "billing", listed(keys)[0]).stdout
    after_one = [status(client, key) for key in made]
    every = keys("revoke", "--account", "billing", "--all").stdout

    assert (one, every) == ("Revoked 1 key of billing.\n", "Revoked 2 keys of billing.\n")
    assert (after_one, [status(client, key) for key in made]) == ([200, 200, 401], [401] * 3)


@pytest.mark.slow
def test_without_an_id_no_key_is_revoked(keys: Manage) -> None:
    keys(*ISSUE)

    results = [keys("revoke", "--account", "billing"), keys("revoke", "--account", "billing", *listed(keys), "--all")]

    assert [result.exit_code for result in results] == [2, 2]
    assert len(listed(keys)) == 1


@pytest.mark.slow
def test_a_rotated_key_stays_valid_for_the_overlap(keys: Manage, client: TestClient) -> None:
    old = keys(*ISSUE).stdout.strip()

    new = keys("rotate", "--account", "billing", listed(keys)[0]).stdout.strip()
    newest = keys("rotate", "--account", "billing", "--overlap-hours", "0", listed(keys)[0]).stdout.strip()

    assert [status(client, key) for key in (old, new, newest)] == [200, 401, 200]


@pytest.mark.slow
def test_the_keys_of_a_disabled_account_are_refused_until_it_is_enabled(keys: Manage, client: TestClient) -> None:
    key = keys(*ISSUE).stdout.strip()

    keys("disable", "--account", "billing")
    disabled, listing = status(client, key), keys("list").stdout.strip()
    keys("enable", "--account", "billing")

    assert (disabled, status(client, key)) == (401, 200)
    assert listing.endswith("vault:read  billing (disabled)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("issue", "--account", "billing", "--scope", "valut:read"), "No route requires valut:read"),
        (("issue", "--account", "", "--scope", "vault:read"), "1 to 254 visible"),
        (("issue", "--account", "alice@example.com", "--scope", "vault:read"), "This account is a person's."),
        ((*ISSUE, "--name", ""), "1 to 100 visible"),
        (("list", "--account", "nobody"), "No such account."),
    ],
)
def test_a_mistake_is_one_line(keys: Manage, client: TestClient, arguments: tuple[str, ...], message: str) -> None:
    Database(client).run(lambda db: accounts.create(db, "alice@example.com"))

    result = keys(*arguments)

    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert message in result.stderr


@pytest.mark.slow
def test_settings_that_production_refuses_make_a_test_key(keys: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTAPI_ENV")
    settings.forget()

    result = keys(*ISSUE)

    assert (parse(result.stdout.strip()) or ("",))[0] == "test"
