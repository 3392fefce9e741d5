"""`manage keys`: keys of service accounts, made and ended at the terminal."""

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core import settings
from app.security.keys.key_format import parse
from tests.security.build_app import assemble, forgotten
from tests.security.fixtures import Database, MakeClient
from tests.security.keys.key_resource import app_with_a_vault
from tests.security.terminal import Manage

ISSUE = ("issue", "--account", "billing", "--scope", "vault:read")


@pytest.fixture(name="client")
def client_of_the_vault(make_client: MakeClient) -> TestClient:
    return make_client(build=app_with_a_vault, AUTH_CACHE_SECONDS="0")


@pytest.fixture
def keys(client: TestClient, manage: Manage) -> Manage:
    """Type `manage keys …` beside a service that runs on the same database."""
    return lambda *arguments: manage("keys", *arguments, load=app_with_a_vault)


def status(client: TestClient, key: str) -> int:
    return client.get("/vault", headers={"X-API-Key": key}).status_code


def listed(keys: Manage) -> list[str]:
    """The ids of the live keys of billing."""
    return [line.split()[0] for line in keys("list", "--account", "billing").stdout.splitlines()]


def test_a_key_is_printed_alone_and_opens_what_it_says(keys: Manage, client: TestClient) -> None:
    result = keys(*ISSUE, "--name", "nightly", "--days", "30")

    key = result.stdout.strip()
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert parse(key)
    assert status(client, key) == 200
    assert client.get("/vault", headers={"X-API-Key": key}).json()["name"] == "billing"


def test_a_list_shows_what_there_is_and_no_key(keys: Manage) -> None:
    key = keys(*ISSUE, "--name", "nightly").stdout.strip()

    printed = keys("list", "--account", "billing").stdout

    assert "nightly" in printed
    assert f"…{key[-4:]}" in printed
    assert "vault:read" in printed
    assert key.rpartition("_")[2] not in printed


def test_a_revoked_key_opens_nothing(keys: Manage, client: TestClient) -> None:
    key, other = keys(*ISSUE).stdout.strip(), keys(*ISSUE).stdout.strip()
    newest = listed(keys)[0]

    assert keys("revoke", "--account", "billing", newest).stdout == "Revoked 1 key of billing.\n"

    assert (status(client, key), status(client, other)) == (200, 401)


def test_every_key_of_an_account_ends_when_all_are_named(keys: Manage, client: TestClient) -> None:
    made = [keys(*ISSUE).stdout.strip() for _ in range(2)]

    result = keys("revoke", "--account", "billing", "--all")

    assert result.stdout == "Revoked 2 keys of billing.\n"
    assert [status(client, key) for key in made] == [401, 401]
    assert listed(keys) == []


def test_a_forgotten_id_ends_no_key(keys: Manage, client: TestClient) -> None:
    key = keys(*ISSUE).stdout.strip()

    results = [keys("revoke", "--account", "billing"), keys("revoke", "--account", "billing", *listed(keys), "--all")]

    assert [result.exit_code for result in results] == [2, 2]
    assert status(client, key) == 200


def test_without_an_account_every_service_account_is_listed(keys: Manage) -> None:
    for _ in range(2):
        keys(*ISSUE)
    keys("issue", "--account", "shipping", "--scope", "vault:read")
    keys("revoke", "--account", "shipping", "--all")
    keys("disable", "--account", "shipping")

    lines = [line.split(maxsplit=1) for line in keys("list").stdout.splitlines()]

    assert lines == [["billing", "2 keys"], ["shipping", "0 keys, disabled"]]


def test_a_rotated_key_goes_on_for_the_overlap(keys: Manage, client: TestClient) -> None:
    old = keys(*ISSUE).stdout.strip()

    new = keys("rotate", "--account", "billing", listed(keys)[0]).stdout.strip()
    newest = keys("rotate", "--account", "billing", "--overlap-hours", "0", listed(keys)[0]).stdout.strip()

    assert [status(client, key) for key in (old, new, newest)] == [200, 401, 200]


def test_a_disabled_account_opens_nothing_until_it_is_enabled(keys: Manage, client: TestClient) -> None:
    key = keys(*ISSUE).stdout.strip()

    keys("disable", "--account", "billing")
    disabled = status(client, key)
    keys("enable", "--account", "billing")

    assert (disabled, status(client, key)) == (401, 200)


def test_no_key_is_made_for_a_person(keys: Manage, client: TestClient) -> None:
    Database(client).run(lambda db: accounts.create(db, "alice@example.com"))

    result = keys("issue", "--account", "alice@example.com", "--scope", "vault:read")

    assert result.exit_code == 1
    assert (result.stdout, "a person" in result.stderr) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("issue", "--account", "billing", "--scope", "valut:read"), "they ask for: "),
        (("issue", "--account", "", "--scope", "vault:read"), "1 to 254 printable"),
        ((*ISSUE, "--name", ""), "1 to 100 printable"),
        (("list", "--account", "nobody"), "No such account"),
        (("revoke", "--account", "nobody", "--all"), "No such account"),
    ],
)
def test_a_mistake_is_one_line(keys: Manage, arguments: tuple[str, ...], said: str) -> None:
    result = keys(*arguments)

    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_forgotten_route_is_named_instead_of_a_key(manage: Manage) -> None:
    result = manage("keys", *ISSUE, load=lambda: assemble(lambda app: app.get("/forgotten")(forgotten)))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "GET /forgotten asks for no caller" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_no_key_lives_longer_than_a_year(keys: Manage) -> None:
    assert keys(*ISSUE, "--days", "366").exit_code == 2
    assert keys(*ISSUE, "--days", "365").exit_code == 0


def test_an_id_of_another_account_is_none(keys: Manage) -> None:
    keys(*ISSUE)
    keys("issue", "--account", "shipping", "--scope", "vault:read")

    result = keys("revoke", "--account", "shipping", listed(keys)[0])

    assert result.exit_code == 1
    assert "no live key of this id" in result.stderr
    assert len(listed(keys)) == 1


def test_settings_that_production_refuses_make_a_test_key(
    keys: Manage, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTAPI_ENV")
    settings.forget()

    result = keys(*ISSUE)

    parsed = parse(result.stdout.strip())
    assert parsed
    assert parsed.mode == "test"
    assert "for development" in result.stderr
