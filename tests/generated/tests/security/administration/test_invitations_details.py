"""An invitation: one use within a day chooses a password, the first one or one for a forgotten one."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from starlette.testclient import TestClient

from tests.security.administration.test_invitations import ALICE, NEW, activate, invite
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, log_in, refresh
from tests.security.timing import at_once

AsPerson = Callable[..., Person]


def test_a_new_invitation_ends_the_one_before(client: TestClient) -> None:
    old, new = invite(client), invite(client)

    assert activate(client, old).status_code == 400
    assert activate(client, new).status_code == 204


def test_of_two_uses_at_once_one_wins(client: TestClient, make_client: MakeClient) -> None:
    token = invite(client)
    wanted = [NEW, "nine loud ravens above"]
    callers = [make_client(client.app, address=f"127.70.0.{number}") for number in (1, 2)]  # type: ignore[arg-type]

    answers = at_once(partial(activate, caller, token, new) for caller, new in zip(callers, wanted, strict=True))

    assert sorted(answer.status_code for answer in answers) == [204, 400]
    works = [log_in(client, ALICE, new).status_code == 200 for new in wanted]
    assert works == [answer.status_code == 204 for answer in answers]


def test_a_weak_password_does_not_use_an_invitation_up(client: TestClient) -> None:
    token = invite(client)

    assert activate(client, token, "short").status_code == 422
    assert activate(client, token).status_code == 204


def test_an_invalid_invitation_gets_the_same_response_for_every_reason(client: TestClient, as_person: AsPerson) -> None:
    used, disabled, replaced = invite(client), invite(client, "disabled@example.com"), invite(client, "new@example.com")
    activate(client, used)
    invite(client, "new@example.com")
    Database(client).rows("UPDATE accounts SET is_active = false WHERE name = 'disabled@example.com'")
    refresh_token = as_person().tokens["refresh_token"]

    answers = [
        activate(client, token) for token in (used, disabled, replaced, "", "ot_" + "a" * 43, "\0", "🔑", refresh_token)
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert len({json.dumps({**answer.json(), "instance": ""}) for answer in answers}) == 1


def test_a_forgotten_password_ends_every_session_when_it_is_replaced(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    assert alice.get("/users/me").status_code == 200

    assert activate(client, invite(client, alice.name)).status_code == 204

    assert alice.get("/users/me").status_code == 401
    assert refresh(alice, alice.tokens["refresh_token"]).status_code == 400
    assert log_in(alice, alice.name, PASSWORD).status_code == 400


def test_an_invitation_ends_the_lockout_of_its_account(client: TestClient, make_client: MakeClient) -> None:
    activate(client, invite(client))
    for number in range(1, 22):
        log_in(make_client(client.app, address=f"127.71.0.{number}"), ALICE, "wrong")  # type: ignore[arg-type]
    home = make_client(client.app, address="127.72.0.1")  # type: ignore[arg-type]
    assert log_in(home, ALICE, NEW).status_code == 429

    activate(home, invite(client), "nine loud ravens above")

    assert log_in(home, ALICE, "nine loud ravens above").status_code == 200


@pytest.mark.parametrize("more", [{"roles": ["admin"]}, {"name": "root"}, {"is_active": True}])
def test_an_invitation_sets_nothing_but_a_password(client: TestClient, more: dict[str, object]) -> None:
    answer = client.post("/auth/activate", json={"token": invite(client), "password": NEW, **more})

    assert answer.status_code == 422
    assert NEW not in answer.text


def test_a_change_of_password_ends_the_invitations_before_it(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    token = invite(client, alice.name)

    change = {"current_password": PASSWORD, "new_password": NEW}
    assert alice.post("/users/me/password", json=change).status_code == 200

    assert activate(client, token, "nine loud ravens above").status_code == 400


def test_a_long_list_of_unknown_members_is_refused_unread(client: TestClient) -> None:
    body = {str(number): 0 for number in range(10_000)}

    assert client.post("/auth/activate", json=body).status_code == 413
