"""Every route of the app that asks who is calling, yours included, with something harmless in its path."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from starlette.testclient import TestClient, WebSocketDenialResponse

from app.security.access.policy import Policies, Policy

NO_ID = "00000000-0000-4000-8000-000000000000"
EXAMPLES = {"int": "1", "float": "1.5"}
PARAMETER = re.compile(r"{\w+(?::(\w+))?}")


class Call(NamedTuple):
    policy: Policy
    method: str
    path: str

    def status(self, client: TestClient, **sent: Any) -> int:
        """What this client is answered."""
        if self.method != "WEBSOCKET":
            return int(client.request(self.method, self.path, **sent).status_code)
        try:
            with client.websocket_connect(self.path):
                return 101
        except WebSocketDenialResponse as refused:
            return int(refused.status_code)


def guarded_calls(client: TestClient) -> Iterator[Call]:
    policies: Policies = client.app.state.policies  # type: ignore[attr-defined]
    for policy in policies.all:
        path = PARAMETER.sub(lambda found: EXAMPLES.get(found[1], NO_ID), policy.path)
        if policy.guarded and not path.startswith("//"):  # a path below a host of its own is not ours to call
            yield from (Call(policy, method, path) for method in sorted(policy.methods))
