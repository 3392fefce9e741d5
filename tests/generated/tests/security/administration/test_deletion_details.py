"""Erasure of a person: what else it ends and what stops it; at the terminal."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.security.access import accounts
from app.security.accounts import AccountError, delete_account
from app.security.core.problems import POLICY_VIOLATION
from app.security.core.tables import Account
from tests.security.administration.test_deletion import rows_of
from tests.security.administration.test_invitations import activate, invite
from tests.security.callers import client_from
from tests.security.fixtures import POSTGRES, Database, MakeClient
from tests.security.http.test_websockets import sockets
from tests.security.persons import PASSWORD, Person, create_person, log_in, log_in_quietly, refresh
from tests.security.sample_resource import app_of_things
from tests.security.terminal import Manage
from tests.security.timing import at_once, later

__all__ = ["sockets"]  # a fixture

AsPerson = Callable[..., Person]
ALICE = "alice@example.com"


def test_the_name_of_an_erased_person_is_free_again(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person(name=ALICE)
    assert alice.delete("/users/me").status_code == 204

    again = as_person(name=ALICE)

    assert again.id != alice.id
    assert again.get("/users/me").status_code == 200
    assert alice.get("/users/me").status_code == 401


def test_an_old_login_erases_nothing(make_client: MakeClient, as_person: AsPerson) -> None:
    alice = as_person(client=make_client(AUTH_CACHE_SECONDS="0"))

    with later(minutes=16):
        alice.use(refresh(alice, alice.tokens["refresh_token"]).json())
        assert alice.delete("/users/me").status_code == 401
        assert alice.get("/users/me").status_code == 200


def test_a_limited_login_erases_nothing(as_person: AsPerson) -> None:
    limited = as_person(scope="notes:read")

    assert limited.delete("/users/me").status_code == 403


def test_an_account_is_erased_once(as_person: AsPerson) -> None:
    alice = as_person()

    answers = at_once([lambda: alice.delete("/users/me").status_code] * 4)

    assert sorted(answers) == [204, 401, 401, 401]


def test_an_open_socket_ends_with_the_account(sockets: TestClient, as_person: AsPerson) -> None:
    alice = as_person(client=sockets)

    with alice.websocket_connect("/echo") as socket:
        assert alice.delete("/users/me").status_code == 204
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert closed.value.code == POLICY_VIOLATION


def test_a_request_that_outlives_its_caller_is_no_crash(
    make_client: MakeClient, as_person: AsPerson, recorded: list[dict[str, Any]]
) -> None:
    """Another process deleted the account, and this one has the caller in its cache."""
    client = make_client(build=app_of_things)
    alice = as_person(client=client)
    assert alice.get("/things").status_code == 200
    Database(client).rows("DELETE FROM accounts")

    answer = alice.post("/things", json={"title": "x"})

    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "It exists already, refers to what was removed, or is referred to.",
    )
    assert "sys_crash" not in [event["event"] for event in recorded]


def test_a_password_of_an_account_that_is_gone_is_not_changed(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    assert alice.get("/users/me").status_code == 200
    Database(client).rows("DELETE FROM accounts")

    change = {"current_password": PASSWORD, "new_password": "seven quiet lamps behind"}
    assert alice.post("/users/me/password", json=change).status_code == 401


@pytest.mark.parametrize("attempt", range(3))
def test_an_erasure_and_other_uses_of_the_account_at_once_get_answers(
    make_client: MakeClient, as_person: AsPerson, attempt: int
) -> None:
    client = make_client(build=app_of_things)
    alice = as_person(client=client)
    tokens = [log_in_quietly(alice)["refresh_token"] for _ in range(4)]
    new = {"current_password": PASSWORD, "new_password": "seven quiet lamps behind"}
    uses: list[Callable[[], Any]] = [
        *(partial(refresh, alice, token) for token in tokens),
        lambda: alice.post("/things", json={"title": "x"}),
        lambda: log_in(client_from(client, Person), alice.name),
        lambda: alice.post("/users/me/password", json=new),
        lambda: alice.delete("/users/me"),
    ]

    *others, erased = [answer.status_code for answer in at_once(uses)]

    assert erased in (204, 401)  # the changed password came first and ended its token
    assert set(others) <= {200, 201, 400, 401, 409}
    assert erased == 401 or rows_of(alice) == 0


def test_an_invitation_ends_with_the_account(client: TestClient, as_person: AsPerson) -> None:
    alice = as_person()
    token = invite(client, alice.name)

    assert alice.delete("/users/me").status_code == 204

    assert activate(client, token).status_code == 400


def test_the_terminal_erases_a_person_after_a_question(client: TestClient, manage: Manage) -> None:
    create_person(client, ALICE)

    refused = manage("users", "delete", ALICE, typed="n\n")
    assert (refused.exit_code, log_in(client, ALICE).status_code) == (1, 200)

    assert manage("users", "delete", ALICE.upper(), typed="y\n").exit_code == 0
    assert log_in(client, ALICE).status_code == 400


def test_the_terminal_erases_no_service_and_no_unknown_person(client: TestClient, manage: Manage) -> None:
    Database(client).run(lambda db: accounts.create(db, "billing", kind="service"))

    for name, said in (("billing", "service account"), ("nobody", "No such account")):
        done = manage("users", "delete", name, "--yes")
        assert done.exit_code == 1
        assert said in done.stderr
    assert Database(client).rows("SELECT count(*) FROM accounts") == [(1,)]


@pytest.fixture
def keeps(client: TestClient) -> Iterator[Callable[[UUID], None]]:
    """A table whose rows must be kept; call it to add one for an account."""
    kind = "uuid" if POSTGRES else "CHAR(32)"
    Database(client).rows(f"CREATE TABLE receipts (buyer_id {kind} NOT NULL REFERENCES accounts (id))")
    yield lambda person: Database(client).rows("INSERT INTO receipts VALUES (:id)", id=person.hex) and None
    Database(client).rows("DROP TABLE receipts")


def test_a_row_that_must_be_kept_keeps_its_person(
    client: TestClient, as_person: AsPerson, manage: Manage, keeps: Callable[[UUID], None]
) -> None:
    alice = as_person()
    keeps(alice.id)

    answer, typed = alice.delete("/users/me"), manage("users", "delete", alice.name, "--yes")

    assert answer.status_code == 409
    assert "without ondelete" in answer.json()["detail"]
    assert (typed.exit_code, "without ondelete" in typed.stderr) == (1, True)
    assert alice.get("/users/me").status_code == 200
    assert log_in(alice, alice.name, PASSWORD).status_code == 200


def test_a_refused_erasure_leaves_the_transaction_usable(client: TestClient, keeps: Callable[[UUID], None]) -> None:
    person = create_person(client, ALICE)
    keeps(person)

    async def delete(db: AsyncSession) -> Account | None:
        with pytest.raises(AccountError, match="must be kept"):
            await delete_account(db, await db.get_one(Account, person))
        return await accounts.find_account(db, ALICE)

    assert Database(client).run(delete) is not None
