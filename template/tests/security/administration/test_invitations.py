"""An invitation: one use within a day chooses a password, the first one or one for a forgotten one."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.administration import self_service
from tests.security.fixtures import Database
from tests.security.persons import log_in
from tests.security.timing import later

NEW = "seven quiet lamps behind"
ALICE = "alice@example.com"


def invite(client: TestClient, name: str = ALICE) -> str:
    """The token of an invitation for this person, who is created when unknown."""

    async def work(db: AsyncSession) -> str:
        try:
            account = await accounts.by_name(db, name)
        except accounts.UnknownAccount:
            account = await accounts.create(db, name)
        return await self_service.invite(db, account)

    return Database(client).run(work)


def activate(client: TestClient, token: str, password: str = NEW) -> Any:
    return client.post("/auth/activate", json={"token": token, "password": password})


def test_an_invitation_sets_a_password_once_and_logs_nobody_in(client: TestClient) -> None:
    token = invite(client)

    first, second = activate(client, token), activate(client, token, "nine loud ravens above")

    assert (first.status_code, first.content) == (204, b"")
    assert second.status_code == 400
    assert log_in(client, ALICE, NEW).status_code == 200


@pytest.mark.slow
def test_an_invitation_holds_for_a_day(client: TestClient) -> None:
    tokens = invite(client, "early@example.com"), invite(client, "late@example.com")

    with later(hours=24, minutes=-1):
        assert activate(client, tokens[0]).status_code == 204
    with later(hours=24, seconds=1):
        assert activate(client, tokens[1]).status_code == 400
