"""The shape of a request: single headers, a target and a body of bounded size, and unambiguous JSON.

Servers differ in what they let through: one accepts two Host headers or 20 MB of headers, another both lengths of RFC
9112 section 6.3 at once (request smuggling). So this is checked here for every server. An unread body is not buffered.
"""

import asyncio
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticSerializationError, to_json
from starlette.types import Message, Receive, Scope

from app.security.access.credentials import Headers
from app.security.core.problems import Problem

SINGLE_HEADERS = frozenset(
    b"host authorization x-api-key content-type content-length transfer-encoding origin x-forwarded-proto".split()
)
MAY_COME_TWICE = frozenset((b"x-forwarded-for", b"x-request-id"))
FORM = "application/x-www-form-urlencoded"
JSON = ("/json", "+json")  # how its media types end
FREE_TEXT = "x-free-text"
BYTES_OF_A_VALUE = 50  # one value for so many bytes of a limit: to refuse each of 300,000 takes seconds
MOST_LEVELS = 100  # of arrays and objects in each other: pydantic serialises 254, those of the response included
MOST_MEMBERS = 1000  # of one object: each that a model refuses is an error, and 20,000 errors take a third of a second
CLOSE = {"Connection": "close"}  # where the end of a body is in doubt, what follows is no request
NOT_UTF_8 = (b"\xff\xfe", b"\xfe\xff", b"\0")  # how UTF-16 and UTF-32 begin; Python's parser would guess them
# Static files normalise these after their policy was found by the path as it was sent, so it could be another's.
_AMBIGUOUS_PATH = re.compile(r"//|\\|\n|/\.{1,2}(?:/|\Z)")
_OTHER_CHARSET = re.compile(r"charset(?!=\"?utf-8\"? *(?:;|\Z))", re.IGNORECASE)  # decoding some takes seconds


def read_headers(scope: Scope, max_bytes: int) -> Headers:
    """The headers that must not be repeated. Raises: Problem 400 when one is, 431 when all are too long."""
    found: Headers = {}
    forwarded: list[bytes] = []
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name in SINGLE_HEADERS:
            if name in found:
                raise Problem(400, detail="A header that must not be repeated is repeated.", headers=CLOSE)
            found[name] = value
        elif name in MAY_COME_TWICE:
            forwarded.append(name)
    if size > max_bytes:
        raise Problem(431)
    chunked = b"transfer-encoding" in found
    if chunked and b"content-length" in found:
        raise Problem(400, detail="Send Content-Length or Transfer-Encoding, not both.", headers=CLOSE)
    # A server puts trailers among the headers, so after chunks the second one may be the client's own.
    if chunked and len(forwarded) != len(set(forwarded)):
        raise Problem(400, detail="A forwarding header is repeated.", headers=CLOSE)
    return found


def check_target(scope: Scope, max_bytes: int) -> None:
    """Raises: Problem 400 or 414."""
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > max_bytes:
        raise Problem(414)
    if not scope["path"].startswith("/") or _AMBIGUOUS_PATH.search(scope["path"]):
        raise Problem(400, detail="The path is not valid.")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a request to one route may carry, and how long it may take; None is no limit."""

    media_types: tuple[str, ...]  # none: any, for what has no route and is never read
    max_bytes: int
    body_seconds: float | None
    response_seconds: float | None
    internal: bool = False


def check_body(headers: Headers, allowed: Allowed) -> None:
    """Whether a body of this length and media type is accepted here. Raises: Problem 400, 413 or 415."""
    length = headers.get(b"content-length", b"0")
    if not (length.isdigit() and len(length) < 20):
        raise Problem(400, detail="Content-Length is not a number.")
    if int(length) > allowed.max_bytes:
        raise Problem(413, detail=f"Send at most {allowed.max_bytes} bytes.")
    if int(length) or b"transfer-encoding" in headers:
        _check_media_type(headers, allowed)


def _check_media_type(headers: Headers, allowed: Allowed) -> None:
    media_type, parameters = _media_type(headers)
    if allowed.media_types and media_type not in allowed.media_types:
        raise Problem(415, detail=f"Send {' or '.join(allowed.media_types)}.")
    if (media_type.endswith(JSON) or media_type.startswith("multipart/")) and _OTHER_CHARSET.search(parameters):
        raise Problem(415, detail="Send UTF-8.")


def _media_type(headers: Headers) -> tuple[str, str]:
    """The media type, and its parameters with the semicolon before them."""
    media_type, separator, parameters = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    return media_type.strip().lower(), separator + parameters


class Slots:
    """How many may be in progress at once: in total, and of each account or unknown address (OWASP API4:2023)."""

    def __init__(self, total: int, per_client: int) -> None:
        self.total = total
        self.per_client = per_client
        self._used = 0
        self._used_by: dict[object, int] = {}

    def acquire(self, client: object) -> None:
        """Raises: Problem 503 when all slots are in use, 429 when this client has its share."""
        if self._used >= self.total:
            raise Problem(503, detail="The service is busy; try again.", headers={"Retry-After": "1"})
        used = self._used_by.get(client, 0)
        if used >= self.per_client:
            raise Problem(429, detail="Too many of your requests are open.", headers={"Retry-After": "1"})
        self._used += 1
        self._used_by[client] = used + 1

    def release(self, client: object) -> None:
        self._used -= 1
        self._used_by[client] -= 1
        if not self._used_by[client]:
            del self._used_by[client]


class Body:
    """Wraps `receive`: counts, times and checks a body while the app reads it. Until then it takes one of few slots."""

    def __init__(self, receive: Receive, headers: Headers, allowed: Allowed, slots: Slots, client: object) -> None:
        self._receive = receive
        self._headers = headers
        self._allowed = allowed
        self._slots = slots
        self._client = client
        self._size = 0
        self._until: float | None = None
        media_type, _ = _media_type(headers)
        is_json = media_type.endswith(JSON)
        self._json: bytearray | None = bytearray() if is_json else None
        self._separators = b",[{" if is_json else b"&" if media_type == FORM else b""
        self._values = 0
        self._arrived = False

    async def receive(self) -> Message:
        """Raises: Problem 400, 408, 413, 415, 422, 429 or 503."""
        if self._arrived:
            return await self._receive()  # waits for the client to leave
        if self._until is None and self._allowed.body_seconds is not None:
            self._until = asyncio.get_running_loop().time() + self._allowed.body_seconds
        self._slots.acquire(self._client)
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, detail="The body took too long.", headers=CLOSE) from None
        finally:
            self._slots.release(self._client)
        self._arrived = not message.get("more_body", False)
        body = message.get("body", b"")
        self._size += len(body)
        if self._size > self._allowed.max_bytes:
            raise Problem(413, detail=f"Send at most {self._allowed.max_bytes} bytes.")
        if body and b"content-length" not in self._headers:
            _check_media_type(self._headers, self._allowed)  # HTTP/2 need not announce a body
        self._values += sum(map(body.count, self._separators))
        if self._values > (most := max(1000, self._allowed.max_bytes // BYTES_OF_A_VALUE)):
            raise Problem(413, detail=f"The body has more than {most} values.")
        if self._json is not None:
            self._json += body
        if self._arrived and self._json:
            check_json(bytes(self._json))
        return message


def check_json(body: bytes) -> None:
    """Refuse ambiguous JSON, such as a member that is repeated (ASVS 5.0 V1.5.3). Raises: Problem 400 or 422."""
    if body.startswith(NOT_UTF_8) or body[1:2] == b"\0":
        raise Problem(400, detail="Send UTF-8.")
    try:
        value = json.loads(body, object_pairs_hook=_unique_members, parse_constant=_number, parse_float=_number)
        if body.count(b"[") + body.count(b"{") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
            raise RecursionError
    except RecursionError:
        raise Problem(400, detail="The body is nested too deeply.") from None
    except ValueError:
        return
    try:
        to_json(value)
    except PydanticSerializationError:
        raise Problem(422, detail="The body contains an unpaired surrogate.") from None


def _levels(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, members), default=0)


def _number(text: str) -> float:
    """NaN is neither more nor less than any limit (RFC 8259 section 6: not permitted), and 1e999 is infinite."""
    if not math.isfinite(number := float(text)):
        raise Problem(400, detail=f"The body holds {text[:20]}, which is no finite number.")
    return number


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(members) > MOST_MEMBERS:
        raise Problem(413, detail=f"An object of the body has more than {MOST_MEMBERS} members.")
    if len(found) != len(members):
        raise Problem(400, detail="The body names a member of an object twice.")
    return found


class FreeText:
    """Prose, which the web application firewall skips: `Annotated[str, Field(max_length=10_000), FreeText()]`.

    Nothing but your code protects it: bind it in SQL, escape it in HTML, and run no part of it.
    """

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {FREE_TEXT: True}
