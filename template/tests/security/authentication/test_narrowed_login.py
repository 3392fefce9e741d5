"""Whoever logs in for some scopes alone gets nothing else, on no route, and refreshing widens nothing."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from tests.security.every_route import guarded_calls
from tests.security.persons import Person, refresh

AsPerson = Callable[..., Person]


def test_one_scope_is_refused_on_every_route_that_does_not_name_it(client: TestClient, as_person: AsPerson) -> None:
    scopes = client.app.state.policies.scopes()  # type: ignore[attr-defined]
    if not scopes:
        pytest.skip("no route of this app asks for a scope, so nobody can log in for less than everything")
    for scope in scopes:
        person = as_person(scope=scope)
        elsewhere = [call for call in guarded_calls(client) if call.policy.scopes != {scope}]

        before = {call.policy.name: call.status(person) for call in elsewhere}
        person.use(refresh(person, person.tokens["refresh_token"]).json())
        after = {call.policy.name: call.status(person) for call in elsewhere}

        assert len(before) >= 6
        assert before == after == dict.fromkeys(before, 403)
