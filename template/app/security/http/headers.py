"""Security headers on every response, errors included (OWASP REST Security cheat sheet, ASVS 5.0 V3.4)."""

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
    """Adds each header that the response does not set itself: a route may, for example, allow caching."""

    def __init__(self, app: ASGIApp, over_https: dict[str, str]) -> None:
        self.app = app
        self._headers, self._over_https = _raw(HEADERS), _raw(HEADERS | over_https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            headers = self._over_https if scope["scheme"] in ("https", "wss") else self._headers
            scope["state"]["context"].on_response.append(lambda sent: _add_missing(headers, sent))
        await self.app(scope, receive, send)


def _add_missing(headers: Raw, sent: Raw) -> None:
    present = {name.lower() for name, _ in sent}
    sent += [item for item in headers if item[0] not in present]


def install(app: FastAPI) -> None:
    # Never over plain http (RFC 6797 section 7.2).
    app.add_middleware(SecurityHeaders, over_https=STRICT_TRANSPORT_SECURITY if in_production() else {})
