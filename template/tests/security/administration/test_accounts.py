"""A password reset for an owner's route: a single-use token for the stored name, which ends every session."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.security.accounts import PasswordReset, request_password_reset
from tests.security.administration.test_invitations import ALICE, NEW, activate
from tests.security.fixtures import Database
from tests.security.persons import Person, create_person, log_in, refresh

AsPerson = Callable[..., Person]


def reset(client: TestClient, name: str = ALICE) -> PasswordReset | None:
    return Database(client).run(lambda db: request_password_reset(db, name))


def reset_token(client: TestClient, name: str = ALICE) -> str:
    found = reset(client, name)
    assert found is not None
    return found.token


def test_a_forgotten_password_is_replaced_once_and_every_session_ends(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    token = reset_token(client, alice.name)
    assert alice.get("/users/me").status_code == 200

    assert activate(client, token).status_code == 204

    assert alice.get("/users/me").status_code == 401
    assert refresh(alice, alice.tokens["refresh_token"]).status_code == 400
    assert log_in(client, alice.name).status_code == 400
    assert log_in(client, alice.name, NEW).status_code == 200
    assert activate(client, token, "nine loud ravens above").status_code == 400


@pytest.mark.slow
def test_the_token_is_sent_to_the_name_that_is_stored(client: TestClient) -> None:
    create_person(client, ALICE)

    found = reset(client, "\uff41LICE@example.com")  # another mailbox, which folds to hers

    assert found is not None
    assert found.name == ALICE
