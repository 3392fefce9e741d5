"""Security headers of every response, errors included (OWASP REST Security cheat sheet, ASVS 5.0 V3.4)."""

from starlette.datastructures import Headers

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

# For documents alone: data opens no window and uses no camera (ASVS 5.0 V3.4.8).
DOCUMENT_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def relaxed(directives: str) -> bytes:
    """Our Content-Security-Policy, with these directives in place of ours. A directive that is not named stays."""
    given = [*HEADERS["Content-Security-Policy"].split(";"), *directives.split(";")]
    merged = {name.lower(): value for name, _, value in (one.strip().partition(" ") for one in given) if name}
    return "; ".join(f"{name} {value}".rstrip() for name, value in merged.items()).encode()


def security_headers() -> list[list[tuple[bytes, bytes]]]:
    """Those over http, those over https (RFC 6797 section 7.2: HSTS there alone), and those of documents."""
    over_https = HEADERS | (STRICT_TRANSPORT_SECURITY if in_production() else {})
    return [Headers(headers).raw for headers in (HEADERS, over_https, DOCUMENT_HEADERS)]
