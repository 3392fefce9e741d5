"""The audit log is tamper-evident: a row that was changed, removed or inserted is found and named."""

import pytest
from starlette.testclient import TestClient

from tests.security.audit.audit_helpers import (
    Audit,
    assert_broken,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    head_of,
    kept,
    tamper,
)

ROWS = 5


@pytest.fixture
def chain(client: TestClient) -> TestClient:
    assert [change(client) for _ in range(ROWS)] == [200] * ROWS
    return client


@pytest.mark.slow
def test_the_rows_verify_and_a_checkpoint_is_confirmed(chain: TestClient, audit: Audit) -> None:
    checkpoint = head_of(audit)
    change(chain)

    assert audit("verify", "--head", checkpoint).stdout.startswith(f"All {ROWS + 1} rows verify.")
    assert_broken(audit, ROWS, "--head", f"{ROWS}:{'0' * 64}")
    assert audit("verify", "--head", "nonsense").exit_code == 1


def test_a_changed_row_is_found_and_named(chain: TestClient, audit: Audit) -> None:
    tamper(chain, "UPDATE audit_events SET actor = 'x' WHERE seq = 2")

    assert_broken(audit, 2)


@pytest.mark.slow
def test_a_row_that_was_cut_off_the_end_is_missed(chain: TestClient, audit: Audit) -> None:
    tamper(chain, f"DELETE FROM audit_events WHERE seq = {ROWS}")  # noqa: S608

    assert_broken(audit, ROWS)


@pytest.mark.slow
def test_a_running_service_does_not_append_to_an_emptied_log(
    chain: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(chain, "DELETE FROM audit_events", "DELETE FROM audit_chain")

    assert change(chain) == 503

    assert kept(chain) == []
    assert "an older state was restored" in capsys.readouterr().out
