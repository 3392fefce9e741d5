"""Roles: who may call what, removal at once, and nothing that only a token says."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.security.access.policy import Policy
from app.security.access.roles import ADMIN, Role, first_role
from app.security.authentication import tokens
from app.security.core.tables import Session
from tests.security.fixtures import Database
from tests.security.persons import Person

AsPerson = Callable[..., Person]
NOBODY = "00000000-0000-4000-8000-000000000000"
ROLES = [*(role.value for role in Role), None]


def routes_for_roles(client: TestClient) -> list[Policy]:
    return [policy for policy in client.app.state.policies.all if policy.roles]  # type: ignore[attr-defined]


def call(client: TestClient, policy: Policy) -> int:
    method = next(iter(policy.methods))
    path = policy.path.replace("{person_id:uuid}", NOBODY)
    body = {"json": {}} if method in ("POST", "PATCH") else {}
    return client.request(method, path, **body).status_code


def test_a_route_for_a_role_is_for_nobody_else(client: TestClient, as_person: AsPerson) -> None:
    policies = routes_for_roles(client)

    assert policies
    for role in ROLES:
        person = as_person(role=role)
        for policy in policies:
            refused = any(role not in group for group in policy.roles)
            assert (call(person, policy) == 403) == refused, (role, policy.name)


@pytest.mark.parametrize("cache", ["5", pytest.param("0", marks=pytest.mark.slow)])
def test_losing_a_role_holds_at_once_with_the_same_token(
    make_client: Callable[..., TestClient], as_person: AsPerson, cache: str
) -> None:
    client = make_client(AUTH_CACHE_SECONDS=cache)
    boss, other = as_person(role=ADMIN, client=client), as_person(role=ADMIN, client=client)
    assert other.get("/users").status_code == 200

    assert boss.patch(f"/users/{other.id}", json={"roles": []}).status_code == 200

    assert other.get("/users").status_code == 403


def test_a_role_in_a_token_alone_is_worth_nothing(client: TestClient, as_person: AsPerson) -> None:
    person = as_person()
    claims = tokens.verify(person.tokens["access_token"])
    session = Database(client).run(lambda db: db.get_one(Session, claims.sid))
    scopes = frozenset(claims.scope.split())
    forged = tokens.issue(session, claims.ver, frozenset({ADMIN.value}), scopes, narrowed=False)

    person.headers["Authorization"] = f"Bearer {forged}"

    assert person.get("/users/me").status_code == 200
    assert person.get("/users").status_code == 403


def test_a_new_person_is_never_the_administrator() -> None:
    assert ADMIN not in first_role()
    assert len(first_role()) == min(1, len(Role) - 1)


# At the terminal
