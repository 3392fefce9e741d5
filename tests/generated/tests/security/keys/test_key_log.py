"""What the access log tells of a key: what it did, and whose it was once it is refused."""

from collections.abc import Callable
from typing import Any

from tests.security.keys.key_resource import revoke
from tests.security.keys.test_api_keys import client_of_the_vault  # noqa: F401
from tests.security.programs import Program

AsProgram = Callable[..., Program]
Recorded = list[dict[str, Any]]


def test_the_log_has_what_a_key_did_and_who_uses_it_once_it_is_revoked(
    as_program: AsProgram, recorded: Recorded
) -> None:
    program = as_program(scope="vault:read")
    program.get("/vault")
    revoke(program)
    program.get("/vault")

    used, refused = (fields for fields in recorded if fields["event"] == "request")
    assert (used["actor"], used["credential"]) == (str(program.id), str(program.key_id))
    assert (refused["actor"], refused["credential"]) == (str(program.id), str(program.key_id))
    assert refused["reason"] == "key_revoked"
