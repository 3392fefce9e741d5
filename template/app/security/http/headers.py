"""Headers on every response, errors included (OWASP REST Security and HTTP Headers cheat sheets, ASVS 5.0 V3.4)."""

from functools import partial

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.core.settings import in_production

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # default-src does not cover base-uri, form-action and frame-ancestors.
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; object-src 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
STRICT_TRANSPORT_SECURITY = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}

Raw = list[tuple[bytes, bytes]]


def _raw(headers: dict[str, str]) -> Raw:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class SecurityHeaders:
    """Adds each header that the response does not set itself; a route may say otherwise, for example to be cached."""

    def __init__(self, app: ASGIApp, headers: dict[str, str], on_https: dict[str, str]) -> None:
        self.app = app
        plain, all_of_them = _raw(headers), _raw(headers | on_https)
        names = frozenset(name for name, _ in all_of_them)
        self.add_plain, self.add_on_https = partial(_add, plain, names), partial(_add, all_of_them, names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            add = self.add_on_https if scope["scheme"] in ("https", "wss") else self.add_plain
            scope["state"]["context"].on_answer.append(add)
        await self.app(scope, receive, send)


def _add(ours: Raw, names: frozenset[bytes], sent: Raw) -> None:
    own = {name.lower() for name, _ in sent} & names
    sent += [item for item in ours if item[0] not in own] if own else ours


def install(app: FastAPI) -> None:
    # Over plain http it must not be said (RFC 6797 section 7.2).
    on_https = STRICT_TRANSPORT_SECURITY if in_production() else {}
    app.add_middleware(SecurityHeaders, headers=HEADERS, on_https=on_https)
