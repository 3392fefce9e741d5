"""No mailbox takes over an administrator: their forgotten password is replaced at the terminal."""

from collections.abc import Callable

from starlette.testclient import TestClient

from app.security.access.roles import ADMIN
from app.security.accounts import request_password_reset
from tests.security.administration.test_people import activate, boss
from tests.security.fixtures import Database
from tests.security.persons import Person

__all__ = ["boss"]  # a fixture

AsPerson = Callable[..., Person]


def test_an_administrator_gets_no_token(client: TestClient, boss: Person) -> None:
    assert Database(client).run(lambda db: request_password_reset(db, boss.name)) is None


def test_a_token_ends_when_its_person_becomes_administrator(
    client: TestClient,
    boss: Person,
    as_person: AsPerson,
) -> None:
    person = as_person()
    found = Database(client).run(lambda db: request_password_reset(db, person.name))
    assert found is not None

    assert boss.patch(f"/users/{person.id}", json={"roles": [ADMIN]}).status_code == 200

    assert activate(client, found.token) == 400
