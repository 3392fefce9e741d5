"""Events of an owner have the fields of ours."""

from enum import StrEnum
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.database import DbSession
from app.security.access.identity import Caller, require_scope
from app.security.events import OnceAMinute, record, record_change
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient


class Mine(StrEnum):
    EXPORTED = "thing_exported"
    CHANGED = "thing_changed"
    REFUSED = "thing_refused"


refused = OnceAMinute()


def add_routes(app: FastAPI) -> None:
    @app.get("/export", dependencies=[require_scope("things:read")])
    async def export(caller: Caller) -> None:
        record(Mine.EXPORTED, subject="7", reason="csv")

    @app.post("/change", dependencies=[require_scope("things:read")])
    async def change(caller: Caller, db: DbSession, fail: bool = False) -> None:
        record_change(db, Mine.CHANGED, subject="7")
        if fail:
            raise RuntimeError

    @app.get("/refuse", dependencies=[require_scope("things:read")])
    async def refuse(caller: Caller) -> None:
        refused.record(str(caller.id), Mine.REFUSED)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


def test_an_own_event_names_its_caller_and_its_request(
    client: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    caller = as_caller(client=client)
    answer = caller.get("/export")

    found = next(fields for fields in recorded if fields["event"] == "thing_exported")
    expected = {"outcome": "success", "subject": "7", "reason": "csv", "actor": str(caller.id), "route": "/export"}
    assert expected.items() <= found.items()
    assert found["request_id"] == answer.headers["X-Request-ID"]


def test_an_own_change_is_written_with_its_transaction(
    client: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    caller = as_caller(client=client)
    caller.post("/change?fail=true")
    assert "thing_changed" not in [fields["event"] for fields in recorded]

    caller.post("/change")

    assert "thing_changed" in [fields["event"] for fields in recorded]


def test_an_own_event_that_callers_cause_without_end_is_written_once_a_minute(
    client: TestClient, as_caller: AsCaller, recorded: list[dict[str, Any]]
) -> None:
    caller = as_caller(client=client)
    for _ in range(5):
        caller.get("/refuse")

    assert [fields["event"] for fields in recorded].count("thing_refused") == 1
