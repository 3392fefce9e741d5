"""Send raw ASGI messages: requests that no client library sends."""

import asyncio
from typing import Any

from starlette.testclient import TestClient
from starlette.types import Message, Receive

NOBODY_GAVE_UP_SECONDS = 15


async def ask(client: TestClient, path: str, receive: Receive, method: str = "POST", **headers: str) -> int:
    """The status of the answer to a request whose body comes out of `receive`; to be awaited in the app's loop."""
    answers: list[Any] = []

    async def send(message: Message) -> None:
        answers.append(message)

    await client.app(scope_of(client, path, method, **headers), receive, send)  # type: ignore[arg-type]
    return int(answers[0]["status"])


def scope_of(client: TestClient, path: str, method: str, **headers: str) -> dict[str, Any]:
    """What a server makes of such a request."""
    sent = {"host": "localhost", **headers}
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "2", "scheme": "http"}
    scope |= {"method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"root_path": "", "state": {}}
    scope |= {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]}
    return scope | {"client": client._transport.client, "server": ("localhost", 80)}  # type: ignore[attr-defined]


async def nothing_more() -> Message:
    """The body that was announced and never comes; the app gives up long before the test does."""
    await asyncio.sleep(NOBODY_GAVE_UP_SECONDS)
    raise AssertionError
