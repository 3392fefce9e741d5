"""The functions for an owner's routes: create an account, request a password reset, log in after another login."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.database import DbSession
from app.security.access import accounts
from app.security.accounts import (
    TokenOut,
    create_account,
    find_account,
    issue_tokens,
    token_endpoint,
)
from app.security.admission.request_guard import accepts
from app.security.authentication.passwords import PasswordHasher
from app.security.core.tables import Account
from app.security.identity import public
from tests.security.administration.test_accounts import reset, reset_token
from tests.security.administration.test_invitations import ALICE, NEW, activate
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, create_person, log_in, refresh
from tests.security.timing import later

AsPerson = Callable[..., Person]


class SignUp(BaseModel):
    name: str
    password: str | None = None


def add_routes(app: FastAPI) -> None:
    @app.post("/sign-up", status_code=201, dependencies=[public])
    async def sign_up(new: SignUp, db: DbSession) -> UUID:
        return (await create_account(db, new.name, new.password)).id

    @app.post("/callback/{account}", dependencies=[public])
    async def callback(request: Request, account: UUID, db: DbSession) -> TokenOut:
        return await issue_tokens(request, db, account)

    app.post("/login", dependencies=[public, accepts("application/x-www-form-urlencoded")])(token_endpoint)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


def sign_up(client: TestClient, name: str = ALICE, password: str = PASSWORD) -> Any:
    return client.post("/sign-up", json={"name": name, "password": password})


def test_who_signs_up_may_log_in(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    created = sign_up(client)

    assert created.status_code == 201
    assert log_in(client, ALICE).status_code == 200
    written = [event for event in recorded if event["event"] == "user_created"]
    assert [(event["actor"], event["subject"]) for event in written] == [("anonymous", created.json())]
    assert ALICE not in str(recorded)


@pytest.mark.parametrize("name", [ALICE, "ALICE@example.com", "\uff41lice@example.com"])
def test_a_taken_name_is_409_and_changes_nothing(client: TestClient, name: str) -> None:
    create_person(client, ALICE)

    answer = sign_up(client, name, NEW)

    assert (answer.status_code, answer.json()["detail"]) == (409, "That name is taken.")
    assert log_in(client, ALICE).status_code == 200


def test_a_taken_name_causes_no_error_of_the_database_whose_log_would_quote_it(client: TestClient) -> None:
    create_person(client, ALICE)
    errors: list[Any] = []
    event.listen(client.app.state.database.engine.sync_engine, "handle_error", errors.append)  # type: ignore[attr-defined]

    assert sign_up(client, ALICE, NEW).status_code == 409

    assert errors == []


@pytest.mark.parametrize(
    ("name", "password"), [(ALICE, "short"), (ALICE, "passwordpassword1"), (ALICE, f"{ALICE} {ALICE}"), ("a\0b", NEW)]
)
def test_a_weak_password_or_a_bad_name_is_422_and_creates_nothing(client: TestClient, name: str, password: str) -> None:
    answer = sign_up(client, name, password)

    assert answer.status_code == 422
    assert password not in answer.text
    assert Database(client).rows("SELECT count(*) FROM accounts") == [(0,)]


def test_the_database_waits_for_no_hash(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    hash_password = PasswordHasher.hash

    async def hash_and_look(self: PasswordHasher, password: str) -> str:
        held.append(client.app.state.database.engine.pool.checkedout())  # type: ignore[attr-defined]
        return await hash_password(self, password)

    monkeypatch.setattr(PasswordHasher, "hash", hash_and_look)

    assert sign_up(client).status_code == 201
    assert held == [0]


def test_the_routes_of_an_app_share_its_bound_on_hashes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app.state.passwords, "_jobs", 10_000)  # type: ignore[attr-defined]

    assert sign_up(client).status_code == 503


def test_a_role_that_the_project_lacks_creates_no_account(client: TestClient) -> None:
    async def create(db: AsyncSession) -> None:
        with pytest.raises(ValueError, match="no role"):
            await create_account(db, ALICE, PASSWORD, roles=["no_such_role"])

    Database(client).run(create)

    assert Database(client).rows("SELECT count(*) FROM accounts") == [(0,)]


def test_an_account_without_a_password_gets_one_with_a_token(client: TestClient) -> None:
    Database(client).run(lambda db: create_account(db, ALICE))
    assert log_in(client, ALICE, "").status_code == 400

    assert activate(client, reset_token(client)).status_code == 204

    assert log_in(client, ALICE, NEW).status_code == 200


@pytest.mark.parametrize("name", ["nobody@example.com", "", "a\0b", "\ud800", "x" * 10_000, "billing"])
def test_there_is_no_token_for_a_name_without_a_person(client: TestClient, name: str) -> None:
    Database(client).run(lambda db: accounts.create(db, "billing", kind="service"))

    assert reset(client, name) is None
    assert Database(client).rows("SELECT count(*) FROM one_time_tokens") == [(0,)]


def test_a_disabled_account_gets_no_token_and_is_not_enabled_by_one(client: TestClient) -> None:
    create_person(client, ALICE)
    token = reset_token(client)
    disable = "UPDATE accounts SET is_active = :active WHERE name = :name"
    Database(client).rows(disable, active=False, name=ALICE)

    assert activate(client, token).status_code == 400
    with later(minutes=6):
        assert reset(client) is None
    assert log_in(client, ALICE, NEW).status_code == 400


def test_a_mailbox_gets_a_token_every_five_minutes_at_most(client: TestClient) -> None:
    create_person(client, ALICE)
    first = reset_token(client)
    assert reset(client) is None

    with later(minutes=6):
        second = reset_token(client)
        assert activate(client, first).status_code == 400
        assert activate(client, second).status_code == 204
        assert reset(client) is not None


def test_a_token_is_valid_for_an_hour(client: TestClient) -> None:
    create_person(client, ALICE)
    token = reset_token(client)

    with later(minutes=61):
        assert activate(client, token).status_code == 400


def test_whoever_asks_for_a_reset_withdraws_no_invitation(client: TestClient) -> None:
    """Else anyone could end what an administrator has issued."""
    create_person(client, ALICE)
    invited = "INSERT INTO one_time_tokens (id, account_id, token_hash, created_at, expires_at) "
    mine = "SELECT id, id, :hash, created_at, created_at FROM accounts"
    Database(client).rows(invited + mine, hash=b"\1" * 32)

    assert reset(client) is not None

    assert Database(client).rows("SELECT count(*) FROM one_time_tokens") == [(2,)]


def test_tokens_are_issued_for_an_identity_that_was_verified_elsewhere(
    client: TestClient, recorded: list[dict[str, Any]]
) -> None:
    person = Database(client).run(lambda db: create_account(db, ALICE)).id

    tokens = client.post(f"/callback/{person}")

    assert tokens.status_code == 200
    bearer = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    assert client.get("/users/me", headers=bearer).json()["name"] == ALICE
    assert refresh(client, tokens.json()["refresh_token"]).status_code == 200
    logins = [event for event in recorded if event["event"] == "authn_login_success"]
    assert [(event["actor"], event["reason"]) for event in logins] == [(str(person), "external")]


def test_who_logs_in_elsewhere_has_no_password_and_gets_none_by_mail(client: TestClient) -> None:
    person = Database(client).run(lambda db: create_account(db, ALICE)).id
    assert client.post(f"/callback/{person}").status_code == 200

    assert reset(client) is None
    assert log_in(client, ALICE, "").status_code == 400
    assert log_in(client, ALICE, "!external").status_code == 400


def test_a_password_is_kept_beside_a_login_elsewhere(client: TestClient) -> None:
    person = create_person(client, ALICE)

    assert client.post(f"/callback/{person}").status_code == 200

    assert log_in(client, ALICE).status_code == 200


def test_a_disabled_account_and_a_service_get_no_tokens(client: TestClient, recorded: list[dict[str, Any]]) -> None:
    async def make(db: AsyncSession) -> list[Account]:
        disabled = await create_account(db, ALICE)
        await accounts.set_active(db, disabled, False)
        return [disabled, await accounts.create(db, "billing", kind="service")]

    ids = [account.id for account in Database(client).run(make)]

    for account in (*ids, UUID(int=7)):
        answer = client.post(f"/callback/{account}")
        assert answer.status_code == 403
        assert "access_token" not in answer.text
    assert Database(client).rows("SELECT count(*) FROM sessions") == [(0,)]
    assert [event["event"] for event in recorded].count("authn_login_fail") == 3


def test_the_oldest_session_ends_where_there_are_too_many(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_routes), SESSIONS_PER_ACCOUNT="1")
    person = create_person(client, ALICE)
    first, second = (client.post(f"/callback/{person}").json()["access_token"] for _ in range(2))

    answers = [client.get("/users/me", headers={"Authorization": f"Bearer {token}"}) for token in (first, second)]

    assert [answer.status_code for answer in answers] == [401, 200]


def test_a_login_has_a_second_path(client: TestClient) -> None:
    create_person(client, ALICE)
    form = {"grant_type": "password", "username": ALICE, "password": PASSWORD}

    assert client.post("/login", data=form).json()["token_type"] == "Bearer"
    assert client.post("/login", data=form | {"password": "wrong"}).json()["error"] == "invalid_grant"


def test_a_name_is_found_in_every_spelling(client: TestClient) -> None:
    person = create_person(client, ALICE)

    async def find(db: AsyncSession, name: str) -> UUID | None:
        account = await find_account(db, name)
        return account and account.id

    names = [ALICE, "ALICE@example.com", "nobody", "a\0b", "\ud800", "x" * 10_000]
    assert [Database(client).run(lambda db, name=name: find(db, name)) for name in names] == [person] * 2 + [None] * 4  # type: ignore[misc]


def test_a_login_elsewhere_ends_the_tokens_that_set_a_password(client: TestClient) -> None:
    account = client.post("/sign-up", json={"name": ALICE}).json()
    token = reset_token(client, ALICE)

    assert client.post(f"/callback/{account}").status_code == 200
    assert activate(client, token).status_code == 400
