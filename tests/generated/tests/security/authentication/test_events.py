"""Security events of logging in: each is written where it happens, once, and says who, what and whence."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access import accounts
from app.security.access.identity import Caller, require_scope
from app.security.administration import self_service
from app.security.core.events import Event
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, log_in, refresh
from tests.security.timing import later

AsPerson = Callable[..., Person]
Recorded = list[dict[str, Any]]
NEW = "seven quiet lamps behind"


def add_routes(app: FastAPI) -> None:
    @app.get("/things", dependencies=[require_scope("things:read")])
    async def things(caller: Caller) -> None: ...


@pytest.fixture
def alice(make_client: MakeClient, as_person: AsPerson, environment: Callable[..., None]) -> Person:
    environment(AUTH_CACHE_SECONDS="0")
    return as_person(client=make_client(assemble(add_routes)))


def in_database(alice: Person, work: Callable[[AsyncSession], Any]) -> Any:
    return Database(alice).run(work)


def change_password(alice: Person, current: str) -> None:
    alice.post("/users/me/password", json={"current_password": current, "new_password": NEW})


def invite(alice: Person) -> str:
    async def work(db: AsyncSession) -> str:
        return await self_service.invite(db, await accounts.by_name(db, alice.name))

    return str(in_database(alice, work))


def activate(alice: Person) -> None:
    alice.post("/auth/activate", json={"token": invite(alice), "password": NEW})


def expire(alice: Person) -> None:
    with later(days=8):
        refresh(alice, alice.tokens["refresh_token"])


def replay(alice: Person) -> None:
    for _ in range(2):
        refresh(alice, alice.tokens["refresh_token"])


def leave_the_scope(alice: Person) -> None:
    alice.log_in(scope="things:read")
    alice.get("/users/me")


CAUSES: dict[Event, Callable[[Person], Any]] = {
    Event.LOGIN_SUCCESS: lambda alice: log_in(alice, alice.name),
    Event.LOGIN_FAIL: lambda alice: log_in(alice, alice.name, "wrong"),
    Event.LOGIN_LOCK: lambda alice: [log_in(alice, alice.name, "wrong") for _ in range(6)],
    Event.TOKEN_CREATED: lambda alice: refresh(alice, alice.tokens["refresh_token"]),
    Event.TOKEN_REUSE: replay,
    Event.PASSWORD_CHANGE: lambda alice: change_password(alice, PASSWORD),
    Event.PASSWORD_CHANGE_FAIL: lambda alice: change_password(alice, "wrong"),
    Event.INVITATION_CREATED: invite,
    Event.INVITATION_USED: activate,
    Event.SESSION_CREATED: lambda alice: log_in(alice, alice.name),
    Event.SESSION_EXPIRED: expire,
    Event.SESSION_ENDED: lambda alice: alice.post("/auth/logout"),
    Event.AUTHZ_FAIL: leave_the_scope,
}


@pytest.mark.parametrize("event", CAUSES)
def test_it_is_written_once_where_it_happens(alice: Person, recorded: Recorded, event: Event) -> None:
    recorded.clear()

    CAUSES[event](alice)

    found = [fields for fields in recorded if fields["event"] == event]
    assert len(found) == 1
    bad = event.endswith(("fail", "lock", "crash", "reuse"))
    assert found[0].get("outcome", "success") == ("failure" if bad else "success")


@pytest.mark.parametrize("event", [Event.LOGIN_SUCCESS, Event.PASSWORD_CHANGE, Event.SESSION_ENDED, Event.AUTHZ_FAIL])
def test_an_event_names_actor_address_and_request(alice: Person, recorded: Recorded, event: Event) -> None:
    recorded.clear()

    CAUSES[event](alice)

    fields = next(fields for fields in recorded if fields["event"] == event)
    asked = [fields["request_id"] for fields in recorded if fields["event"] == Event.REQUEST]
    assert fields["actor"] == str(alice.id)
    assert fields["client_ip"].startswith("127.")
    assert fields["user_agent"] == "testclient"
    assert fields["request_id"] in asked
