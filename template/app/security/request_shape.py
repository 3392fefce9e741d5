"""What one request may look like: its headers, sizes and media type, and a body that is counted while it is read.

Servers differ in what they let through: one takes two Host headers or 20 MB of them, another both lengths of RFC 9112
section 6.3 at once. So this is asked here, whatever the server.
"""

import re
from typing import Any

from starlette.types import Message, Receive, Scope

from app.security.problems import Problem

JSON = ("application/json",)
ONCE = frozenset(
    (b"host", b"authorization", b"x-api-key", b"content-type", b"content-length", b"transfer-encoding", b"origin")
)
Headers = dict[bytes, bytes]  # those that may stand once
# Where the end of a body is in doubt, what follows on the connection is no request (RFC 9112 section 6.3).
CLOSE = {"Connection": "close"}

_CHARSET = re.compile(r"(?: *; *charset=\"?utf-8\"? *)?\Z", re.IGNORECASE)


def read_headers(scope: Scope, max_bytes: int) -> Headers:
    """The headers that may stand once. Raises: Problem 400 when one is repeated, 431 when all are too long."""
    found: Headers = {}
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name in ONCE:
            if name in found:
                raise Problem(400, detail="A header that may stand once is repeated.", headers=CLOSE)
            found[name] = value
    if size > max_bytes:
        raise Problem(431)
    if b"content-length" in found and b"transfer-encoding" in found:
        raise Problem(400, detail="A body has one length.", headers=CLOSE)
    return found


def check_target(scope: Scope, max_bytes: int) -> None:
    """Raises: Problem 414 or 400."""
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > max_bytes:
        raise Problem(414)
    if not scope["path"].startswith("/"):
        raise Problem(400, detail="The path does not start with a slash.")


def check_body(headers: Headers, limits: dict[str, Any], max_bytes: int) -> None:
    """Whether a body of this length and media type is welcome here. Raises: Problem 400, 413 or 415."""
    length = headers.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) < 20):
        raise Problem(400, detail="Content-Length is no number.")
    size = int(length or 0)
    if size > limits.get("max_bytes", max_bytes):
        raise Problem(413)
    if size == 0 and b"transfer-encoding" not in headers:
        return
    _check_media_type(headers, limits)


def _check_media_type(headers: Headers, limits: dict[str, Any]) -> None:
    media_type, separator, parameters = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    allowed = limits.get("media_types", JSON)
    if media_type.strip().lower() not in allowed:
        raise Problem(415, detail=f"Send {' or '.join(allowed)}.")
    if allowed == JSON and not _CHARSET.match(separator + parameters):
        raise Problem(415, detail="Send UTF-8.")


def counted(receive: Receive, headers: Headers, limits: dict[str, Any], max_bytes: int) -> Receive:
    """A body without a declared length is counted while it is read; what nobody reads is never buffered."""
    if b"content-length" in headers:
        return receive  # the server holds the body to it
    left = limits.get("max_bytes", max_bytes)

    async def counting() -> Message:
        nonlocal left
        message = await receive()
        if message.get("body"):  # HTTP/2 announces no body
            _check_media_type(headers, limits)
        left -= len(message.get("body", b""))
        if left < 0:
            raise Problem(413)
        return message

    return counting
