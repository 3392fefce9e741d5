"""Whoever grants power is confirmed again inside the granting transaction."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import DbSession
from app.security.access import accounts
from app.security.access.policy import InsecureApp
from app.security.access.roles import ADMIN, set_roles
from app.security.authentication.recent_login import GrantingSession, RequireRecentLogin, recent_login
from app.security.core.settings import ROOT
from app.security.core.tables import Account, AccountRole, ApiKey, OneTimeToken, Session, utc_now
from app.security.operations.start_up import check_app
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import Person
from tests.security.sample_resource import app_of_things

AsPerson = Callable[..., Person]


async def _disable(db: AsyncSession, account: UUID) -> None:
    await accounts.set_active(db, await db.get_one(Account, account), False)


async def _deactivate_alone(db: AsyncSession, account: UUID) -> None:
    await db.execute(update(Account).where(Account.id == account).values(is_active=False))


async def _raise_version(db: AsyncSession, account: UUID) -> None:
    await db.execute(update(Account).where(Account.id == account).values(token_version=Account.token_version + 1))


async def _end_sessions(db: AsyncSession, account: UUID) -> None:
    await accounts.end_sessions(db, account)


async def _expire(db: AsyncSession, account: UUID) -> None:
    await db.execute(update(Session).where(Session.account_id == account).values(expires_at=utc_now()))


async def _demote(db: AsyncSession, account: UUID) -> None:
    await set_roles(db, account, [])


Revocation = Callable[[AsyncSession, UUID], Awaitable[None]]
REVOCATIONS: list[Revocation] = [_disable, _deactivate_alone, _raise_version, _end_sessions, _expire]
GRANTS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "issue a key": ("POST", "/api-keys", {"name": "x", "scopes": ["things:read"]}),
    "rotate a key": ("POST", "/api-keys/{key}/rotate", None),
    "create": ("POST", "/users", {"name": "eve@example.com", "roles": ["admin"]}),
    "invite": ("POST", "/users/{person}/invite", None),
    "change roles": ("PATCH", "/users/{person}", {"roles": ["admin"]}),
    "disable": ("PATCH", "/users/{person}", {"is_active": False}),
    "end sessions": ("DELETE", "/users/{person}/sessions", None),
}
CASES: list[Any] = [
    pytest.param(grant, _disable, "5", marks=[pytest.mark.slow] * (grant != "create"))
    for grant in GRANTS
    if "key" not in grant or list((ROOT / "app/security/keys").glob("*.py"))
]
CASES += [pytest.param("create", revoke, "0", marks=pytest.mark.slow) for revoke in [*REVOCATIONS, _demote]]


@contextmanager
def revoked_meanwhile(caller: Person, revoke: Revocation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process revokes after every dependency has passed, and before the transaction grants."""
    checked = RequireRecentLogin.__call__
    database = caller.app.state.database  # type: ignore[attr-defined]

    async def check_then_revoke(self: Any, connection: Any) -> Any:
        principal = await checked(self, connection)
        async with database.begin() as db:
            await revoke(db, caller.id)
        return principal

    with monkeypatch.context() as patch:
        patch.setattr(RequireRecentLogin, "__call__", check_then_revoke)
        yield


async def _state(db: AsyncSession) -> list[Any]:
    tables = (Account, ApiKey, AccountRole, OneTimeToken)
    counts = [await db.scalar(select(func.count()).select_from(table)) for table in tables]
    others = await db.execute(select(Session.account_id, Session.ended_at).order_by(Session.id))
    return [*counts, {row.account_id for row in others if row.ended_at}]


@pytest.mark.parametrize(("grant", "revoke", "cache"), CASES)
def test_a_caller_who_lost_power_meanwhile_grants_none(
    make_client: MakeClient,
    as_person: AsPerson,
    monkeypatch: pytest.MonkeyPatch,
    grant: str,
    revoke: Revocation,
    cache: str,
) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS=cache)
    boss, person = as_person(client=client, role=ADMIN), as_person(client=client)
    issued = boss.post("/api-keys", json={"name": "k", "scopes": ["things:read"]}) if "key" in grant else None
    key = issued.json()["id"] if issued else None
    method, path, body = GRANTS[grant]
    before = Database(client).run(_state)

    with revoked_meanwhile(boss, revoke, monkeypatch):
        answer = boss.request(method, path.format(key=key, person=person.id), json=body)

    after = Database(client).run(_state)
    assert answer.status_code == (403 if revoke is _demote else 401)
    assert after[:2] == before[:2]
    assert after[2] == before[2] - (revoke is _demote)
    assert after[3] == before[3]
    assert person.id not in after[4]
    assert person.get("/users/me").status_code == 200


@pytest.mark.parametrize("session", [DbSession, GrantingSession])
def test_a_route_that_grants_power_without_confirming_its_caller_fails_at_start_up(session: Any) -> None:
    async def grant(db: session) -> None: ...  # type: ignore[valid-type]

    app = assemble(lambda app: app.post("/grants", dependencies=[recent_login])(grant))

    if session is GrantingSession:
        check_app(app)
    else:
        with pytest.raises(InsecureApp, match="POST /grants requires a recent login and uses DbSession"):
            check_app(app)
