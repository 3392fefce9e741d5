"""What Sentry sends of a crash: no request body, and no local variable but those of the owner's functions."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.security.fixtures import MakeClient


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the package, with what it has documented."""
    processors: list[Any] = []
    module: Any = ModuleType("sentry_sdk")
    module.client = SimpleNamespace(options={"max_request_body_size": "medium"})
    module.scope = SimpleNamespace(add_event_processor=processors.append, processors=processors)
    module.get_client, module.get_global_scope = lambda: module.client, lambda: module.scope
    monkeypatch.setitem(sys.modules, "sentry_sdk", module)
    return module


@pytest.mark.parametrize(("chosen", "becomes"), [("medium", "never"), ("always", "always")])
def test_request_bodies_are_sent_only_where_the_owner_chose_so(
    make_client: MakeClient, sentry: Any, chosen: str, becomes: str
) -> None:
    sentry.client.options["max_request_body_size"] = chosen

    make_client()

    assert sentry.client.options["max_request_body_size"] == becomes


@pytest.mark.parametrize("part", ["exception", "threads"])
def test_only_the_local_variables_of_the_owners_functions_are_sent(
    make_client: MakeClient, sentry: Any, part: str
) -> None:
    modules = ["fastapi.routing", "app.api.notes", "app.security.authentication.routes", None]
    frames = [{"module": module, "vars": {"presented": "rt_secret"}} for module in modules]

    make_client()
    (strip,) = sentry.scope.processors
    event = strip({part: {"values": [{"stacktrace": {"frames": frames}}, {"stacktrace": None}]}}, {})

    assert [frame["module"] for frame in event[part]["values"][0]["stacktrace"]["frames"] if "vars" in frame] == [
        "app.api.notes"
    ]
    assert strip({"type": "transaction"}, {}) == {"type": "transaction"}
