"""A chain whose end was changed, or that is older than what was seen of it, is not continued."""

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
    read_head,
    restore,
    tamper,
)
from tests.security.audit.test_audit_chain import (
    ROWS,
    chain,  # noqa: F401
)

CUT = (
    "DELETE FROM audit_events WHERE seq > 3",
    "UPDATE audit_chain SET seq = 3, hash = (SELECT hash FROM audit_events WHERE seq = 3)",
)


@pytest.mark.parametrize("statements", [CUT, ("DELETE FROM audit_chain", "DELETE FROM audit_events WHERE seq < 3")])
def test_nothing_is_appended_to_a_chain_whose_end_was_changed(chain: TestClient, statements: tuple[str, ...]) -> None:
    tamper(chain, *statements)
    before = len(kept(chain))

    assert change(chain) == 503

    assert len(kept(chain)) == before


def test_an_older_state_is_found_by_a_checkpoint_and_by_a_running_service(chain: TestClient, audit: Audit) -> None:
    old = read_head(chain)
    change(chain)
    checkpoint = head_of(audit)

    restore(chain, old)

    assert audit("verify").exit_code == 0
    assert_broken(audit, ROWS + 1, "--head", checkpoint)
    assert change(chain) == 503
