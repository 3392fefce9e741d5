"""What one request may look like: its headers and its target.

Servers differ in what they let through: one takes two Host headers or 20 MB of them, another both lengths of RFC 9112
section 6.3 at once. So this is asked here, whatever the server.
"""

from starlette.types import Scope

from app.security.core.problems import Problem

ONCE = frozenset(
    (
        *(b"host", b"authorization", b"x-api-key", b"content-type", b"content-length", b"transfer-encoding"),
        *(b"origin", b"x-forwarded-proto"),
    )
)
SAID_BY_PROXIES = frozenset((b"x-forwarded-for", b"x-request-id"))
Headers = dict[bytes, bytes]  # those that may stand once
# Where the end of a body is in doubt, what follows on the connection is no request (RFC 9112 section 6.3).
CLOSE = {"Connection": "close"}


def read_headers(scope: Scope, max_bytes: int) -> Headers:
    """The headers that may stand once. Raises: Problem 400 when one is repeated, 431 when all are too long."""
    found: Headers = {}
    said: list[bytes] = []
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name in ONCE:
            if name in found:
                raise Problem(400, detail="A header that may stand once is repeated.", headers=CLOSE)
            found[name] = value
        elif name in SAID_BY_PROXIES:
            said.append(name)
    if size > max_bytes:
        raise Problem(431)
    if b"content-length" in found and b"transfer-encoding" in found:
        raise Problem(400, detail="A body has one length.", headers=CLOSE)
    # Several lines are one list (RFC 9110 section 5.3); but after chunks the last may be a trailer, which a server puts
    # among the headers and a proxy lets its client write.
    if len(said) != len(set(said)) and b"transfer-encoding" in found:
        raise Problem(400, detail="What a proxy says is repeated.", headers=CLOSE)
    return found


def check_target(scope: Scope, max_bytes: int) -> None:
    """Raises: Problem 414 or 400."""
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > max_bytes:
        raise Problem(414)
    if "\n" in scope["path"]:  # patterns that end in $ take it for the end of the path
        raise Problem(400, detail="The path holds a line break.")
    if not scope["path"].startswith("/"):
        raise Problem(400, detail="The path does not start with a slash.")
