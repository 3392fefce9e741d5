"""An older state of the audit log verifies in itself; a service that runs has seen what came after, and stops there."""

import pytest
from starlette.testclient import TestClient

from app.security.audit.audit_check import RETENTION_DAYS
from tests.security.audit.audit_helpers import (
    Audit,
    app_of_changes,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    head_of,
    kept,
    put_back,
    remembered,
    tamper,
)
from tests.security.fixtures import MakeClient
from tests.security.timing import later

ROWS = 3


@pytest.fixture
def chain(client: TestClient) -> TestClient:
    assert [change(client) for _ in range(ROWS)] == [200] * ROWS
    return client


def test_a_service_that_runs_adds_nothing_to_an_older_state(
    chain: TestClient, audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    old = remembered(chain)
    change(chain)
    seen = head_of(audit)
    put_back(chain, old)

    assert change(chain) == 503

    assert "critical" in (said := "".join(capsys.readouterr()))
    assert f"--head {seen}" in said
    assert len(kept(chain)) == ROWS


def test_a_service_that_runs_begins_no_chain_where_one_was_wiped(chain: TestClient, audit: Audit) -> None:
    tamper(chain, "DELETE FROM audit_events", "DELETE FROM audit_chain")

    assert change(chain) == 503

    assert kept(chain) == []


def test_a_service_that_runs_sees_an_older_state_behind_what_others_added(
    chain: TestClient, make_client: MakeClient, audit: Audit
) -> None:
    old = remembered(chain)
    change(chain)
    put_back(chain, old)
    other = make_client(build=app_of_changes)
    assert [change(other), change(other)] == [200, 200]

    assert change(chain) == 503

    assert change(other) == 200


def test_a_service_knows_the_chain_from_its_start(chain: TestClient, make_client: MakeClient, audit: Audit) -> None:
    old = remembered(chain)
    change(chain)
    other = make_client(build=app_of_changes)

    put_back(chain, old)

    assert change(other) == 503


def test_what_others_add_and_prune_is_no_older_state(chain: TestClient, make_client: MakeClient, audit: Audit) -> None:
    other = make_client(build=app_of_changes)
    assert [change(other), change(chain), change(chain)] == [200] * 3
    with later(days=RETENTION_DAYS + 1):
        assert audit("prune").exit_code == 0

    assert [change(other), change(chain)] == [200] * 2
    assert audit("verify").exit_code == 0
