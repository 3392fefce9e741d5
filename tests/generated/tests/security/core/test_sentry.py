"""What Sentry sends of a crash: no request body, and no local variable."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.security.fixtures import MakeClient


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the package, with what it has documented."""
    module: Any = ModuleType("sentry_sdk")
    module.client = SimpleNamespace(options={"max_request_body_size": "medium", "include_local_variables": True})
    module.get_client = lambda: module.client
    monkeypatch.setitem(sys.modules, "sentry_sdk", module)
    return module


@pytest.mark.parametrize(("chosen", "becomes"), [("medium", "never"), ("always", "always")])
def test_request_bodies_are_sent_only_where_the_owner_chose_so(
    make_client: MakeClient, sentry: Any, chosen: str, becomes: str
) -> None:
    sentry.client.options["max_request_body_size"] = chosen

    make_client()

    assert sentry.client.options["max_request_body_size"] == becomes


def test_no_local_variables_are_sent(make_client: MakeClient, sentry: Any) -> None:
    make_client()

    assert sentry.client.options["include_local_variables"] is False
