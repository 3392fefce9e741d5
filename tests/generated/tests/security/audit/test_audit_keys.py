"""Which key may sign what in the audit log: a key that was replaced, or another secret, signs nothing new."""

from collections.abc import Callable
from secrets import token_hex

import pytest
from starlette.testclient import TestClient

from app.security.audit.chain import Position, write_head
from app.security.core import settings
from tests.security.audit.audit_helpers import (
    Audit,
    app_of_changes,
    assert_broken,
    audit_command,  # noqa: F401
    change,
    client_of_changes,  # noqa: F401
    kept,
)
from tests.security.fixtures import BASE_ENVIRONMENT, PRODUCTION_ENVIRONMENT, Database, MakeClient

OLD, NEW = token_hex(32), token_hex(32)
BEFORE = {"AUDIT_KEY": OLD}
ROTATED = {"AUDIT_KEY": NEW, "AUDIT_KEY_FALLBACKS": OLD}
STOLEN = {"AUDIT_KEY": OLD, "AUDIT_KEY_FALLBACKS": NEW}  # writes with the old one


@pytest.mark.parametrize("variable", ["AUDIT_KEY", "SECRET_KEY"])
def test_rows_outlive_the_rotation_of_their_key(
    make_client: MakeClient, environment: Callable[..., None], audit: Audit, variable: str
) -> None:
    change(make_client(build=app_of_changes, **{variable: OLD}))

    client = make_client(build=app_of_changes, **{variable: NEW, f"{variable}_FALLBACKS": OLD})
    assert change(client) == 200
    assert audit("verify").exit_code == 0
    environment(**{f"{variable}_FALLBACKS": ""})

    assert audit("verify").exit_code == 1


def test_a_key_of_its_own_may_come_later(make_client: MakeClient, audit: Audit) -> None:
    change(make_client(build=app_of_changes))

    client = make_client(build=app_of_changes, AUDIT_KEY=NEW)

    assert change(client) == 200
    assert len({row.key_id for row in kept(client)}) == 2
    assert audit("verify").exit_code == 0


def test_beside_a_key_of_its_own_the_secret_key_signs_nothing_in_production(
    client: TestClient, make_client: MakeClient, audit: Audit
) -> None:
    assert change(client) == 200  # signed with what SECRET_KEY alone can make

    service = make_client(build=app_of_changes, production=True)

    assert change(service) == 503
    assert audit("verify").exit_code == 1


@pytest.fixture
def rotated(client: TestClient, make_client: MakeClient, audit: Audit) -> TestClient:
    """One row of the old key, then one of the new one."""
    for variables in (BEFORE, ROTATED):
        assert change(make_client(build=app_of_changes, **variables)) == 200
    return client


def test_rows_of_a_key_that_was_replaced_come_before_the_others(
    rotated: TestClient, make_client: MakeClient, environment: Callable[..., None], audit: Audit
) -> None:
    thief = make_client(build=app_of_changes, **STOLEN)
    assert change(thief) == 200

    environment(**ROTATED)

    assert_broken(audit, 3)


def test_of_two_keys_that_were_replaced_the_order_counts_too(
    rotated: TestClient, make_client: MakeClient, environment: Callable[..., None], audit: Audit
) -> None:
    assert change(make_client(build=app_of_changes, **STOLEN)) == 200

    environment(AUDIT_KEY=token_hex(32), AUDIT_KEY_FALLBACKS=f"{NEW},{OLD}")

    assert_broken(audit, 3)


def test_a_key_that_was_replaced_signs_no_head(
    rotated: TestClient, environment: Callable[..., None], audit: Audit
) -> None:
    environment(**STOLEN)
    row = kept(rotated)[1]
    Database(rotated).run(lambda db: write_head(db, Position(row.seq, row.hash)))

    environment(**ROTATED)

    assert_broken(audit, 2)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AUDIT_KEY": ""}, "AUDIT_KEY: is missing"),
        ({"AUDIT_KEY": "abcd"}, "AUDIT_KEY: must be"),
        ({"AUDIT_KEY": BASE_ENVIRONMENT["SECRET_KEY"]}, "AUDIT_KEY: is a SECRET_KEY too"),
        ({"AUDIT_KEY": NEW, "SECRET_KEY_FALLBACKS": NEW.upper()}, "AUDIT_KEY: is a"),
        ({"AUDIT_KEY_FALLBACKS": BASE_ENVIRONMENT["SECRET_KEY"]}, "AUDIT_KEY: is a SECRET_KEY too"),
        ({"AUDIT_KEY_FALLBACKS": "abcd"}, "AUDIT_KEY_FALLBACKS: must be"),
    ],
)
def test_production_needs_a_key_of_its_own(
    environment: Callable[..., None], variables: dict[str, str], said: str
) -> None:
    environment(**PRODUCTION_ENVIRONMENT | variables)

    found = settings.problems()

    assert [problem for problem in found if problem.startswith(said)]
    assert [value for value in variables.values() if value and value in "".join(found)] == []


def test_a_bad_secret_key_is_named_beside_the_key(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT | {"SECRET_KEY": "abcd"})

    assert [problem for problem in settings.problems() if problem.startswith("SECRET_KEY: ")]
