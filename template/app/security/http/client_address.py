"""The client's address, taken from trusted proxies alone (ASVS 5.0 V15.3.4, V4.1.3).

The usual identity headers, such as X-Real-IP, reach no route: clients write them. Do not trust others in a route.
"""

import ipaddress
import logging
import os
import sys
from functools import cache, lru_cache, partial
from typing import Annotated

from pydantic import BeforeValidator, field_validator
from pydantic_settings import NoDecode
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.security.core.settings import SecuritySettings, split_commas

UNKNOWN = "unknown"
PROXY_HEADERS = ("x-forwarded-for", "x-forwarded-proto")  # a trusted proxy overwrites them
# Headers by which proxies, gateways and platforms tell where a request is from and who sends it.
IDENTITY_HEADERS = (
    *("forwarded", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip"),
    *("x-cluster-client-ip", "x-original-forwarded-for", "x-remote-ip", "x-remote-addr", "x-remote-user"),
    *("x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-uri", "x-forwarded-client-cert"),
    *("remote-user", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username"),
    *("x-forwarded-access-token", "x-auth-request-user", "x-auth-request-email", "x-auth-request-groups"),
    *("x-auth-request-preferred-username", "x-webauth-user", "x-amzn-oidc-identity", "tailscale-user-login"),
    *("x-goog-authenticated-user-email", "x-goog-authenticated-user-id", "cf-access-authenticated-user-email"),
    *("fly-client-ip", "x-envoy-external-address", "x-azure-clientip", "x-appengine-user-ip"),
    *("x-original-host", "x-original-url", "x-rewrite-url"),
)
TEST_NET = "192.0.2."  # RFC 5737: the address of no client, sent by the probes of deploy/
PASSED_ON = "a trusted proxy passes on the X-Forwarded-For of clients, who so choose their address: let it overwrite it"
log = logging.getLogger(__name__)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: object) -> Network:
    """Raises: ValueError, which never quotes the text."""
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        raise ValueError("write addresses or networks, such as 10.0.0.5, 172.18.0.0/24") from None


Networks = Annotated[list[Annotated[Network, BeforeValidator(parse_network)]], NoDecode, BeforeValidator(split_commas)]
"""Addresses and networks, written as `a, b`."""


class ProxySettings(SecuritySettings):
    trusted_proxies: Networks = []  # whose X-Forwarded-* headers count

    @field_validator("trusted_proxies")
    @classmethod
    def _are_few(cls, value: list[Network]) -> list[Network]:
        if any(network.prefixlen < (8 if network.version == 4 else 32) for network in value):
            raise ValueError("name the proxies, not the whole internet")
        return value

    def weaknesses(self) -> list[str]:
        believed = ",".join([os.environ.get("FORWARDED_ALLOW_IPS", ""), *sys.argv])  # by the server, before us
        everybody = not {"*", "0.0.0.0/0", "::/0"}.isdisjoint(believed.replace(" ", "").replace("=", ",").split(","))
        return ["FORWARDED_ALLOW_IPS: remove it; TRUSTED_PROXIES names your proxies"] if everybody else []


def parse_address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, with IPv4 taken out of its IPv6 form; None if the text is not an address."""
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def shown_address(text: str | None) -> str:
    return str(parse_address(text) or UNKNOWN)


@lru_cache(maxsize=4096)
def client_prefix(text: str, ipv6_bits: int = 64) -> str:
    """The network that counts as one client: an IPv4 address, or the /64 that an IPv6 customer has."""
    address = parse_address(text)
    if address is None:
        return UNKNOWN
    bits = 32 if address.version == 4 else ipv6_bits
    return str(ipaddress.ip_network((address, bits), strict=False))


def contains(networks: list[Network], text: str | None) -> bool:
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


class ClientAddress:
    """Takes the client address and the scheme from a trusted proxy: the right-most address that is no proxy itself.

    With "*" uvicorn's middleware would take the left-most one, which the client writes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        proxies = ProxySettings.current().trusted_proxies
        self.trusts = lru_cache(maxsize=4096)(partial(contains, proxies))
        self.forwarded = ProxyHeadersMiddleware(app, [*map(str, proxies)]) if proxies else app  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        peer = scope.get("client")
        if peer and peer[0].startswith("::ffff:"):  # of a socket for IPv6 and IPv4; uvicorn compares the text
            scope["client"] = peer = (str(parse_address(peer[0]) or peer[0]), peer[1])
        state = scope.setdefault("state", {})
        state["peer"] = peer[0] if peer else None
        state["trusted_peer"] = self.trusts(state["peer"])
        await self.forwarded(scope, receive, send)  # type: ignore[arg-type]


_PROXY_HEADERS = frozenset(name.encode() for name in PROXY_HEADERS)
_REFUSED = _PROXY_HEADERS | {name.encode() for name in IDENTITY_HEADERS}


def strip_untrusted_headers(scope: Scope, client: str) -> None:
    """Remove identity headers, and those of proxies from all but trusted proxies. `_` counts as `-`, as in WSGI."""
    trusted = scope["state"]["trusted_peer"]
    if trusted and client.startswith(TEST_NET):
        warn_of_proxy()
    kept = _PROXY_HEADERS if trusted else frozenset()  # as they are spelt; in no other way
    scope["headers"] = [
        (name, value) for name, value in scope["headers"] if name in kept or name.replace(b"_", b"-") not in _REFUSED
    ]


@cache
def warn_of_proxy() -> None:
    """Once for each process."""
    log.warning(PASSED_ON)
