"""A JSON body names each member of an object once (ASVS 5.0 V1.5.3, RFC 8259 section 4, RFC 7493 section 2.3).

Of two members with one name Python keeps the last; another parser on the way, which let the request pass, may have read
the first. A route that somebody put something of their own around reads as FastAPI does.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.security.problems import Problem

Handler = Callable[[Request], Awaitable[Response]]


def _named_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise Problem(400, detail="The body names a member of an object twice.")
    return found


class StrictRequest(Request):
    """What FastAPI reads the body of; a route finds it too, where it asks for the request."""

    async def json(self) -> Any:
        """Raises: Problem 400 for a member that is named twice, JSONDecodeError for what is no JSON."""
        if not hasattr(self, "_json"):
            self._json = json.loads(await self.body(), object_pairs_hook=_named_once)
        return self._json


def strict(handler: Handler) -> Handler:
    """The same handler of a route, which reads JSON as this module says."""

    async def handle(request: Request) -> Response:
        if type(request) is Request:  # and no kind of the owner's own
            request.__class__ = StrictRequest  # the same object: others who hold it find the body that was read
        return await handler(request)

    return handle
