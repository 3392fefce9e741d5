"""A JSON body names each member of an object once, and holds whole characters (ASVS 5.0 V1.5.3, RFC 7493, section 2).

Of two members with one name Python keeps the last; another parser on the way, which let the request pass, may have read
the first. A route that somebody put something of their own around reads as FastAPI does.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from app.security.core.problems import Problem

LARGE_BYTES = 64 * 1024  # more is read in a thread
_reader = ThreadPoolExecutor(1, "json")  # more would be no faster, and hold at once what they have read
# Where a lone surrogate may be: written out, or in bytes that Python's own reader lets through.
_MAY_HOLD_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
Handler = Callable[[Request], Awaitable[Response]]


def _named_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise Problem(400, detail="The body names a member of an object twice.")
    return found


def _check_texts(value: Any) -> None:
    """Raises: Problem 422 for half a character, which no answer, table or log could hold."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            try:
                one.encode()
            except UnicodeEncodeError:
                raise Problem(422, detail="The body holds half a character (a lone surrogate).") from None
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one


def _read(body: bytes) -> Any:
    found = json.loads(body, object_pairs_hook=_named_once)
    if _MAY_HOLD_SURROGATE.search(body):
        _check_texts(found)
    return found


class StrictRequest(Request):
    """What FastAPI reads the body of; a route finds it too, where it asks for the request."""

    async def json(self) -> Any:
        """Raises: Problem 400 for a member named twice, 422 for half a character, JSONDecodeError for no JSON."""
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = await self._read_large(body) if len(body) > LARGE_BYTES else _read(body)
        return self._json

    async def _read_large(self, body: bytes) -> Any:
        """A megabyte of small objects takes a sixth of a second, in which nobody else would be answered.

        Nobody can end a thread: the request keeps its place until it is done, as for a `def` endpoint (`threads.py`).
        """
        reading = self.state.context.thread = _reader.submit(_read, body)
        return await asyncio.wrap_future(reading)


def may_be_read_late(app: Starlette) -> bool:
    """Whether an exception handler of the owner's gets the request, of which its route may have read nothing."""
    modules = [str(getattr(handler, "__module__", "")) for handler in app.exception_handlers.values()]
    return not all(module.startswith((f"{__package__}.", "fastapi.", "starlette.", "slowapi.")) for module in modules)


def strict(handler: Handler) -> Handler:
    """The same handler of a route, which reads JSON as this module says."""

    async def handle(request: Request) -> Response:
        if type(request) is Request:  # and no kind of the owner's own
            request.__class__ = StrictRequest  # the same object: others who hold it find the body that was read
        return await handler(request)

    return handle
