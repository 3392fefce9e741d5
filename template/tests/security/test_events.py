"""Security events: each is written where it happens, once, and says who, what and whence."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security import accounts, invitations
from app.security.events import Event
from app.security.identity import Caller, public, require_scope
from app.security.settings import ROOT
from tests.security.assembled import assemble, caller_of
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person, log_in, refresh
from tests.security.timing import later

AsPerson = Callable[..., Person]
Recorded = list[dict[str, Any]]
NEW = "seven quiet lamps behind"
# With the features that write them: test_people.py, test_cors.py, test_key_use.py, test_rate_limits.py, test_audit_*.
PROVEN_ELSEWHERE = {
    Event.AUTHZ_ADMIN,
    Event.AUTHZ_CHANGE,
    Event.MALICIOUS_CORS,
    Event.RATE_LIMIT_EXCEEDED,
    Event.KEY_CREATED,
    Event.KEY_FIRST_USE,
    Event.KEY_ROTATED,
    Event.KEY_REVOKED,
    Event.KEY_EXPIRED_USE,
    *(event for event in Event if event.startswith("audit_")),
}


def add_routes(app: FastAPI) -> None:
    @app.get("/failing", dependencies=[public])
    async def failing() -> None:
        raise RuntimeError("the recipe is in the cellar")

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
        return await invitations.invite(db, await accounts.by_name(db, alice.name))

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


def disable(alice: Person) -> None:
    async def work(db: AsyncSession) -> None:
        await accounts.set_active(db, await accounts.by_name(db, alice.name), False)

    in_database(alice, work)


def start_and_stop(alice: Person) -> None:
    with caller_of(assemble()):
        pass


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
    Event.USER_CREATED: lambda alice: in_database(alice, lambda db: accounts.create(db, "bob@example.com")),
    Event.USER_UPDATED: disable,
    Event.INPUT_VALIDATION_FAIL: lambda alice: alice.post("/auth/activate", json={}),
    Event.STARTUP: start_and_stop,
    Event.SHUTDOWN: start_and_stop,
    Event.CRASH: lambda alice: alice.get("/failing"),
    Event.REQUEST: lambda alice: alice.get("/health/live"),
}


def test_every_event_that_is_written_is_proven_here() -> None:
    texts = "".join(path.read_text() for path in (ROOT / "app/security").glob("*.py"))

    written = {Event[name] for name in re.findall(r"\bEvent\.([A-Z_]+)", texts)}

    assert CAUSES.keys() == written - PROVEN_ELSEWHERE
    assert CAUSES.keys() | PROVEN_ELSEWHERE == set(Event)


@pytest.mark.parametrize("event", CAUSES)
def test_it_is_written_once_where_it_happens(alice: Person, recorded: Recorded, event: Event) -> None:
    recorded.clear()

    CAUSES[event](alice)

    found = [fields for fields in recorded if fields["event"] == event]
    assert len(found) == 1
    bad = event.endswith(("fail", "lock", "crash"))
    assert found[0].get("outcome", "success") == ("failure" if bad else "success")


@pytest.mark.parametrize("event", [Event.LOGIN_SUCCESS, Event.PASSWORD_CHANGE, Event.SESSION_ENDED, Event.AUTHZ_FAIL])
def test_it_says_who_from_where_in_which_request(alice: Person, recorded: Recorded, event: Event) -> None:
    recorded.clear()

    CAUSES[event](alice)

    fields = next(fields for fields in recorded if fields["event"] == event)
    asked = [fields["request_id"] for fields in recorded if fields["event"] == Event.REQUEST]
    assert fields["actor"] == str(alice.id)
    assert fields["client_ip"].startswith("127.")
    assert fields["user_agent"] == "testclient"
    assert fields["request_id"] in asked


def test_a_request_is_named_by_its_template_and_not_by_what_was_asked(alice: Person, recorded: Recorded) -> None:
    recorded.clear()

    answers = [alice.delete("/auth/sessions/00000000-0000-4000-8000-000000000000"), alice.get("/nowhere/my-secret")]

    assert [(fields["method"], fields["route"], fields["status"]) for fields in recorded] == [
        ("DELETE", "/auth/sessions/{session_id}", 404),
        ("GET", None, 404),
    ]
    assert [fields["request_id"] for fields in recorded] == [answer.headers["x-request-id"] for answer in answers]


def test_a_change_that_is_rolled_back_is_no_event(alice: Person, recorded: Recorded) -> None:
    recorded.clear()

    async def fail(db: AsyncSession) -> None:
        await accounts.create(db, "bob@example.com")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        in_database(alice, fail)

    assert recorded == []


# What the caller calls a request

GIVEN = "0a1b2c3d-4e5f"


def ask(client: TestClient, recorded: Recorded, request_id: str) -> tuple[str, dict[str, Any]]:
    """The id in the answer, and the event."""
    recorded.clear()
    answer = client.get("/health/live", headers={"X-Request-ID": request_id.encode("latin-1")})
    return answer.headers["x-request-id"], recorded[0]


def test_a_trusted_proxy_names_the_request(make_client: MakeClient, recorded: Recorded) -> None:
    client = make_client(TRUSTED_PROXIES="127.0.0.1")

    shown, event = ask(client, recorded, GIVEN)

    assert (shown, event["request_id"]) == (GIVEN, GIVEN)


def test_anybody_else_only_says_what_they_call_it(client: TestClient, recorded: Recorded) -> None:
    shown, event = ask(client, recorded, GIVEN)

    assert shown == event["request_id"] != GIVEN
    assert re.fullmatch("[0-9a-f]{32}", shown)


def test_the_callers_name_of_a_request_is_in_its_security_events(alice: Person, recorded: Recorded) -> None:
    recorded.clear()

    alice.post("/auth/logout", headers={"X-Request-ID": GIVEN})

    ended = next(fields for fields in recorded if fields["event"] == Event.SESSION_ENDED)
    assert ended["client_request_id"] == GIVEN


@pytest.mark.parametrize("odd", ["short", "x" * 65, "with space", "0a1b2c3d\n", "<0a1b2c3d>", "0a1b2c3dé"])
def test_an_odd_name_of_a_request_is_dropped(make_client: MakeClient, recorded: Recorded, odd: str) -> None:
    client = make_client(TRUSTED_PROXIES="127.0.0.1")

    shown, event = ask(client, recorded, odd)

    assert re.fullmatch("[0-9a-f]{32}", shown)
    assert odd not in map(str, event.values())
