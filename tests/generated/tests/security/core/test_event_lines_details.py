"""Each security event is written once."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.events import Event
from tests.security.build_app import assemble, caller_of
from tests.security.core.test_event_lines import (
    Recorded,
    client_of_these_routes,  # noqa: F401
)
from tests.security.fixtures import Database


def start_and_stop(client: TestClient) -> None:
    with caller_of(assemble()):
        pass


async def _create(db: AsyncSession) -> None:
    await accounts.create(db, "bob", kind="service")


async def _disable(db: AsyncSession) -> None:
    await accounts.set_active(db, await accounts.create(db, "carol", kind="service"), False)


async def _give_a_role(db: AsyncSession) -> None:
    await accounts.create(db, "dave", kind="service", roles=["admin"])


CAUSES: dict[Event, Callable[[TestClient], Any]] = {
    Event.USER_CREATED: lambda client: Database(client).run(_create),
    Event.USER_UPDATED: lambda client: Database(client).run(_disable),
    Event.AUTHZ_CHANGE: lambda client: Database(client).run(_give_a_role),
    Event.STARTUP: start_and_stop,
    Event.SHUTDOWN: start_and_stop,
    Event.CRASH: lambda client: client.get("/failing"),
    Event.REQUEST: lambda client: client.get("/health/live"),
}


@pytest.mark.parametrize("event", CAUSES)
def test_each_event_is_written_once(client: TestClient, recorded: Recorded, event: Event) -> None:
    CAUSES[event](client)

    found = [fields for fields in recorded if fields["event"] == event]
    assert len(found) == 1
    assert found[0].get("outcome", "success") == ("failure" if event is Event.CRASH else "success")
