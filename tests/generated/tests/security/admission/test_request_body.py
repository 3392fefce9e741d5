"""A body is no longer than its route accepts, whatever its headers say."""

from typing import Any

from tests.security.callers import AsCaller
from tests.security.raw_asgi import ask
from tests.security.sample_resource import client_of_things as client_of_things


def test_a_body_that_goes_on_after_its_length_is_refused(as_caller: AsCaller) -> None:
    caller = as_caller()
    pieces = 0

    async def receive() -> Any:
        nonlocal pieces
        pieces += 1
        assert pieces < 100
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def call() -> int:
        return await ask(caller, "/things/judged", receive, content_type="application/json", content_length="9")

    assert caller.portal is not None
    assert caller.portal.call(call) == 413
