"""A body is of the right kind, counted while it is read, and on its way for a few seconds only.

What nobody reads is never buffered. A body that has not arrived takes a place among those on their way, which are fewer
than all that may be answered: half-sent requests never fill the service.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive

from app.security.admission.in_flight import Room
from app.security.admission.request_shape import CLOSE, Headers
from app.security.core.problems import Problem

JSON = ("application/json",)
UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\0")  # how such a text begins, by its mark or its first character
_CHARSET = re.compile(r"(?: *; *charset=\"?utf-8\"? *)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a request may bring, in bytes, and how long it and its answer may take, in seconds; None is no limit."""

    media_types: tuple[str, ...]
    max_bytes: int
    body_seconds: float | None
    response_seconds: float | None

    def beside(self, limits: dict[str, Any]) -> "Allowed":
        """What these come to, in general, beside the limits of a route. Room for a larger body is time for it, too."""
        ours, theirs = limits.get("max_bytes", self.max_bytes), limits.get("max_body_size")
        body_seconds = self.response_seconds if "max_bytes" in limits else self.body_seconds
        return Allowed(
            media_types=limits.get("media_types", self.media_types),
            max_bytes=ours if theirs is None else min(ours, theirs),
            body_seconds=limits.get("seconds", body_seconds),
            response_seconds=limits.get("seconds", self.response_seconds),
        )


def check_body(headers: Headers, allowed: Allowed) -> None:
    """Whether a body of this length and media type is welcome here. Raises: Problem 400, 413 or 415."""
    length = headers.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) < 20):
        raise Problem(400, detail="Content-Length is no number.")
    size = int(length or 0)
    if size > allowed.max_bytes:
        raise Problem(413)
    if size == 0 and b"transfer-encoding" not in headers:
        return
    _check_media_type(headers, allowed.media_types)


def _check_media_type(headers: Headers, allowed: tuple[str, ...]) -> None:
    media_type, separator, parameters = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    if media_type.strip().lower() not in allowed:
        raise Problem(415, detail=f"Send {' or '.join(allowed)}.")
    if allowed == JSON and not _CHARSET.match(separator + parameters):
        raise Problem(415, detail="Send UTF-8.")


def _check_encoding(begin: bytes, allowed: tuple[str, ...]) -> None:
    """JSON is UTF-8 (RFC 8259 section 8.1); Python's parser guesses, and others read something else."""
    if allowed == JSON and (begin.startswith(UTF_16_OR_32) or begin[1:2] == b"\0"):
        raise Problem(400, detail="Send UTF-8.")


class Body:
    """Stands in for `receive` of one request. While its body is on its way it has a place in `room`, of `source`."""

    def __init__(self, receive: Receive, headers: Headers, allowed: Allowed, room: Room, source: object) -> None:
        self._receive = receive
        self._headers = headers
        self._allowed = allowed
        self._left = allowed.max_bytes
        self._room = room
        self._source = source
        self._until: float | None = None
        self._begin = b""
        self._arrived = False

    async def receive(self) -> Message:
        """What the app reads from. Raises: Problem 408, 413, 415, 429 or 503."""
        if self._arrived:
            return await self._receive()  # whether the caller is still there
        self._room.enter(self._source)
        try:
            message = await self._next()
        finally:
            self._room.leave(self._source)
        self._arrived = not message.get("more_body", False)
        return self._counted(message)

    async def _next(self) -> Message:
        if self._until is None and self._allowed.body_seconds is not None:
            self._until = asyncio.get_running_loop().time() + self._allowed.body_seconds
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError:
            raise Problem(408, detail="The body took too long.", headers=CLOSE) from None

    def _counted(self, message: Message) -> Message:
        body = message.get("body", b"")
        size = len(body)
        if len(self._begin) < 2 and size:  # bytes, which may come one by one
            self._begin += body[:2]
            _check_encoding(self._begin, self._allowed.media_types)
        if size and b"content-length" not in self._headers:
            _check_media_type(self._headers, self._allowed.media_types)  # HTTP/2 announces no body
        self._left -= size  # whatever was announced: who holds a body to that is the server's choice
        if self._left < 0:
            raise Problem(413)
        return message
