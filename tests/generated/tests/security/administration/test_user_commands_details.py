"""`manage users …`: who may log in, decided at the terminal; a password is asked for, and nowhere else taken from."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.settings import NAME, ROOT
from tests.security.administration.test_invitations import NEW, activate
from tests.security.administration.test_user_commands import (
    ALICE,
    TWICE,
    AsPerson,
    users,  # noqa: F401
)
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, create_person, log_in
from tests.security.project_copy import Copy
from tests.security.terminal import Manage


def test_no_variable_stands_in_for_the_typing(
    users: Manage, client: TestClient, database: Database, environment: Callable[..., None]
) -> None:
    environment(PASSWORD=PASSWORD, USER_PASSWORD=PASSWORD, MANAGE_USERS_CREATE_PASSWORD=PASSWORD)

    assert users("create", ALICE).exit_code == 1
    assert database.rows("SELECT count(*) FROM accounts") == [(0,)]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("short\nshort\n", "15 to 128 characters"),
        ("passwordpassword1\npasswordpassword1\n", "easy to guess"),
        (f"{ALICE} {ALICE}\n" * 2, "built from this service's or your own name"),
        (f"{PASSWORD}\nanother one\n", ""),
        ("", ""),
    ],
)
def test_a_weak_password_creates_no_account(
    users: Manage, client: TestClient, database: Database, typed: str, said: str
) -> None:
    result = users("create", ALICE, typed=typed)

    assert result.exit_code == 1
    assert said in result.stderr
    assert database.rows("SELECT count(*) FROM accounts") == [(0,)]


@pytest.mark.parametrize("name", [ALICE, "ALICE@example.com", "\uff41lice@example.com"])
def test_a_name_is_taken_once(users: Manage, client: TestClient, database: Database, name: str) -> None:
    create_person(client, ALICE)

    assert users("create", name, typed=TWICE).exit_code == 1
    assert database.rows("SELECT count(*) FROM accounts") == [(1,)]


@pytest.mark.parametrize("command", ["create", "invite"])
def test_a_role_that_this_project_does_not_have_is_refused(
    users: Manage, client: TestClient, database: Database, command: str
) -> None:
    result = users(command, ALICE, "--role", "no_such_role", typed=TWICE)

    assert result.exit_code == 1
    assert "is no role of this project. Its roles: user, admin." in result.stderr
    assert database.rows("SELECT count(*) FROM accounts") == [(0,)]


def test_a_service_account_is_not_invited(users: Manage, client: TestClient, database: Database) -> None:
    database.run(lambda db: accounts.create(db, "billing", kind="service"))

    result = users("invite", "billing")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "service account" in result.stderr


def test_the_name_of_the_service_is_no_password(users: Manage, client: TestClient) -> None:
    assert "own name" in users("create", ALICE, typed=f"!{NAME}-2026-{NAME}!\n" * 2).stderr


def test_an_invitation_is_all_that_stdout_holds(users: Manage, client: TestClient) -> None:
    result = users("invite", ALICE)

    assert result.exit_code == 0
    assert re.fullmatch(r"ot_[0-9A-Za-z]{43}\n", result.stdout)
    assert result.stdout.strip() not in result.stderr
    activation = {"token": result.stdout.strip(), "password": PASSWORD}
    assert client.post("/auth/activate", json=activation).status_code == 204
    assert log_in(client, ALICE).status_code == 200


def test_an_invitation_serves_a_forgotten_password_and_changes_nothing_until_it_is_used(
    users: Manage, client: TestClient, as_person: AsPerson
) -> None:
    person = as_person()
    token = users("invite", person.name).stdout.strip()
    assert person.get("/users/me").status_code == 200

    activation = {"token": token, "password": "seven quiet lamps behind"}

    assert client.post("/auth/activate", json=activation).status_code == 204
    assert log_in(client, person.name).status_code == 400
    assert log_in(client, person.name, "seven quiet lamps behind").status_code == 200


def test_the_list_shows_everyone_who_may_log_in(users: Manage, client: TestClient) -> None:
    for name in (ALICE, "bob@example.com"):
        create_person(client, name)
    users("invite", "carol@example.com")
    users("disable", "bob@example.com")

    result = users("list")

    assert result.exit_code == 0
    found = [line.split()[:2] for line in result.stdout.splitlines()]
    assert found == [[ALICE, "active"], ["bob@example.com", "disabled"], ["carol@example.com", "invited"]]
    assert "argon2" not in result.output


def test_unlocking_lets_somebody_in_again(users: Manage, client: TestClient, make_client: MakeClient) -> None:
    create_person(client, ALICE)
    for number in range(1, 22):
        log_in(make_client(client.app, address=f"127.71.0.{number}"), ALICE, "wrong")  # type: ignore[arg-type]
    assert log_in(client, ALICE).status_code == 429

    assert users("unlock", ALICE).stdout.startswith(f"Unlocked {ALICE}. An address with five failures waits")

    assert log_in(client, ALICE).status_code == 200


def test_an_invitation_for_a_disabled_person_ends_the_password_before_they_are_enabled(
    users: Manage, client: TestClient
) -> None:
    create_person(client, ALICE)

    assert users("disable", ALICE).exit_code == 0
    token = users("invite", ALICE).stdout.strip()
    assert users("enable", ALICE).exit_code == 0

    assert log_in(client, ALICE).status_code == 400
    assert activate(client, token, NEW).status_code == 204
    assert log_in(client, ALICE, NEW).status_code == 200


def test_an_invitation_for_a_person_who_is_enabled_leaves_the_password(users: Manage, client: TestClient) -> None:
    create_person(client, ALICE)

    assert users("invite", ALICE).exit_code == 0

    assert log_in(client, ALICE).status_code == 200


@pytest.mark.parametrize("command", ["disable", "enable", "unlock"])
def test_an_unknown_name_is_one_line_of_error(users: Manage, command: str) -> None:
    result = users(command, "nobody@example.com")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "No such account.\n"


def test_what_is_done_at_the_terminal_is_an_event_without_a_secret(users: Manage, tmp_path: Path) -> None:
    results = [users("create", ALICE, typed=TWICE), users("invite", ALICE), users("disable", ALICE)]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    written = "".join(result.stderr for result in results)
    assert [
        event for event in ("user_created", "authn_invitation_created", "user_updated") if event not in written
    ] == []
    assert [secret for secret in (PASSWORD, "ot_", "argon2", ALICE) if secret in written] == []
    assert results[2].stdout == f"Disabled {ALICE}.\n"
    assert {json.loads(line)["app_version"] for line in results[2].stderr.splitlines()} == {version}


@pytest.mark.slow
def test_nobody_is_asked_for_a_password_on_a_server_without_settings(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.variables = {}

    refused = copy.run("app.manage", "users", "create", ALICE)

    assert (refused.returncode, refused.stdout) == (78, "")
    assert "DATABASE_URL: SQLite is for development" in refused.stderr
    assert not (tmp_path / "app.sqlite3").exists()


@pytest.mark.parametrize("name", ["", " ", " alice", "al\u2028ice", "al\x1bice", "a" * 255, "\ufdfa" * 254])
def test_a_name_that_could_never_log_in_is_refused(
    users: Manage, client: TestClient, database: Database, name: str
) -> None:
    result = users("invite", "--", name)

    assert (result.exit_code, result.stdout) == (1, "")
    assert database.rows("SELECT count(*) FROM accounts") == [(0,)]


LOST = "The database cannot be reached ({}): check (MIGRATION_)DATABASE_URL."


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///{}/empty.sqlite3", "manage migrate"),
        ("sqlite:///{}/no/folder", LOST.format("OperationalError")),
        ("postgresql://a:b@127.0.0.1:1/c", LOST.format("ConnectionRefusedError")),
    ],
)
def test_an_empty_database_and_a_lost_one_are_said_in_one_line(
    users: Manage, environment: Callable[..., None], tmp_path: Path, url: str, said: str
) -> None:
    environment(DATABASE_URL=url.format(tmp_path))

    result = users("list")

    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("whose", [[ALICE], ["--all"]])
def test_invitations_are_withdrawn_at_the_terminal(client: TestClient, manage: Manage, whose: list[str]) -> None:
    token = manage("users", "invite", ALICE).stdout.strip()

    assert manage("users", "withdraw-invitations", *whose).exit_code == 0

    answer = client.post("/auth/activate", json={"token": token, "password": "seven quiet lamps behind"})
    assert answer.status_code == 400
