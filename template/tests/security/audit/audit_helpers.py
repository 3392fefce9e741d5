"""An app with audited changes, and access to its audit log; import the fixtures to use them."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result
from fastapi import FastAPI
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.database import DbSession
from app.manage import cli
from app.security import audit
from app.security.access import accounts
from app.security.access.identity import public
from app.security.core import events
from app.security.core.events import Event
from app.security.core.problems import Problem
from app.security.core.tables import Account, AuditEvent
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient
from tests.security.terminal import Manage

NAME = "billing"
# Either authentication method has commands that change an account.
COMMAND = ["users"] if "users" in [group.name for group in cli.registered_groups] else ["keys"]
ACCOUNT = [NAME] if COMMAND == ["users"] else ["--account", NAME]
Audit = Callable[..., Result]
Head = tuple[Any, ...]


def add_changes(app: FastAPI) -> None:
    @app.post("/changes", dependencies=[public])
    async def change(db: DbSession, fail: bool = False, name: str = "") -> None:
        await accounts.create(db, name or str(uuid4()), kind="service")
        if fail:
            raise Problem(409)

    @app.post("/logins", dependencies=[public])
    async def log_in(db: DbSession) -> None:
        db.add(Account(kind="service", name="x", login=str(uuid4())))
        events.record_change(db, Event.LOGIN_SUCCESS)

    @app.post("/failures", dependencies=[public])
    async def fail() -> None:
        events.record(Event.AUTHZ_FAIL, outcome="failure")


def app_of_changes() -> FastAPI:
    return assemble(add_changes)


@pytest.fixture(name="client")
def client_of_changes(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Waiting rows stay in memory until `written`."""
    monkeypatch.setattr(audit, "WRITE_EVERY_SECONDS", 3600)
    return make_client(build=app_of_changes)


@pytest.fixture(name="audit")
def audit_command(manage: Manage) -> Audit:
    """Type `manage audit …`; the exit code, stdout and stderr."""
    return partial(manage, "audit")


def change(client: TestClient, **query: Any) -> int:
    return int(client.post("/changes", params=query).status_code)


def write(client: TestClient) -> bool:
    """Write the waiting rows of the newest app now."""
    assert client.portal is not None
    return client.portal.call(audit.writers[-1].write)


def kept(client: TestClient) -> list[AuditEvent]:
    """Every row, the oldest first."""

    async def read(db: AsyncSession) -> list[AuditEvent]:
        return list(await db.scalars(select(AuditEvent).order_by(AuditEvent.seq)))

    return Database(client).run(read)


def kept_events(client: TestClient) -> list[str]:
    return [row.event for row in kept(client)]


def tamper(client: TestClient, *statements: str) -> None:
    async def work(db: AsyncSession) -> None:
        for statement in statements:
            await db.execute(text(statement))

    Database(client).run(work)


def read_head(client: TestClient) -> Head:
    return Database(client).rows("SELECT seq, hash, mac FROM audit_chain WHERE name = 'head'")[0]


def restore(client: TestClient, head: Head) -> None:
    """Restore the state of the time when this was the head."""
    tamper(client, f"DELETE FROM audit_events WHERE seq > {head[0]}")  # noqa: S608
    restored = "UPDATE audit_chain SET seq = :seq, hash = :hash, mac = :mac WHERE name = 'head'"
    Database(client).rows(restored, seq=head[0], hash=head[1], mac=head[2])


def assert_broken(audit: Audit, seq: int, *words: str) -> None:
    result = audit("verify", *words)
    assert result.exit_code == 1
    assert re.search(rf"^Row {seq} ", result.stderr, re.MULTILINE), result.stderr


def head_of(audit: Audit) -> str:
    result = audit("verify")
    assert result.exit_code == 0, result.stderr
    return str(result.stdout.split()[-1])
