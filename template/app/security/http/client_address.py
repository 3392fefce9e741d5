"""Which address a request comes from, as seen through configured proxies only (ASVS 5.0 V15.3.4, V4.1.3).

The headers of `OF_NOBODY`, which claim where or who a caller is, reach no route: a proxy that lets them through lets
its client write them.
"""

import ipaddress
from functools import lru_cache, partial
from operator import itemgetter

from fastapi import FastAPI
from pydantic import field_validator
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.security.access.policy import Policies
from app.security.core.hooks import hooks_of
from app.security.core.settings import CommaSeparated, SecuritySettings, in_production

UNKNOWN = "unknown"
OF_PROXIES = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto")
OF_NOBODY = (
    *("forwarded", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip"),
    *("x-cluster-client-ip", "x-original-forwarded-for", "x-remote-ip", "x-remote-addr", "x-remote-user"),
    *("remote-user", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username"),
    *("x-forwarded-access-token", "x-forwarded-client-cert", "x-forwarded-uri", "x-auth-request-user"),
    *("x-auth-request-email", "x-auth-request-groups", "x-auth-request-preferred-username", "x-webauth-user"),
    *("x-goog-authenticated-user-email", "x-goog-authenticated-user-id", "cf-access-authenticated-user-email"),
    *("x-amzn-oidc-identity", "tailscale-user-login", "fly-client-ip", "x-envoy-external-address", "x-azure-clientip"),
    *("x-appengine-user-ip", "x-original-host", "x-original-url", "x-rewrite-url"),
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProxySettings(SecuritySettings):
    trusted_proxies: CommaSeparated = []  # addresses or networks whose X-Forwarded-* headers count

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        for item in value:
            network = parse_network(item)
            if network.prefixlen < (8 if network.version == 4 else 32):
                raise ValueError("name the proxies one by one; everyone is no proxy")
        return value


def parse_network(text: str) -> Network:
    """Raises: ValueError, which never quotes the text."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("write addresses or networks, such as 10.0.0.5, 172.18.0.0/24") from None


@lru_cache(maxsize=4096)
def parse_address(text: str | None) -> Address | None:
    """The address, an IPv4 one out of its IPv6 form; None for what is none."""
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def canonical(text: str | None) -> str:
    """The one way to write this address, or "unknown"."""
    address = parse_address(text)
    return UNKNOWN if address is None else str(address)


@lru_cache(maxsize=4096)
def client_prefix(text: str, ipv6_bits: int = 64) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one IPv6 customer has."""
    address = parse_address(text)
    if address is None:
        return UNKNOWN
    bits = 32 if address.version == 4 else ipv6_bits
    return str(ipaddress.ip_network((address, bits), strict=False))


def contains(networks: list[Network], text: str | None) -> bool:
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


class ClientAddress:
    """Replaces the client address and the scheme by what a trusted proxy says of them, and of nobody else.

    With a list, uvicorn's layer takes the right-most address that is no proxy of ours; a server that trusts everyone
    would take the left-most one, which the caller writes.
    """

    def __init__(self, app: ASGIApp, proxies: list[str]) -> None:
        self.app = app
        networks = [parse_network(item) for item in proxies]
        self.trusts = lru_cache(maxsize=4096)(partial(contains, networks))
        self.forwarded = ProxyHeadersMiddleware(app, proxies) if proxies else app  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        peer = scope.get("client")
        state = scope.setdefault("state", {})
        state["peer"] = peer[0] if peer else None
        state["trusted_peer"] = self.trusts(state["peer"])
        await self.forwarded(scope, receive, send)  # type: ignore[arg-type]


_OF_PROXIES, _OF_NOBODY = ({name.encode() for name in names} for names in (OF_PROXIES, OF_NOBODY))
_OF_STRANGERS = _OF_NOBODY | _OF_PROXIES
_name_of = itemgetter(0)


def drop_claims(scope: Scope) -> None:
    """Take away what this peer may not say of the caller; `_` for `-` too, since a mounted WSGI app takes them for one.

    A proxy of ours overwrites its own headers in their one form alone.
    """
    headers, trusted = scope["headers"], scope["state"]["trusted_peer"]
    dropped = _OF_NOBODY if trusted else _OF_STRANGERS
    if dropped.isdisjoint(map(_name_of, headers)) and b"_" not in b"".join(map(_name_of, headers)):
        return
    dashed = [(header, header[0].replace(b"_", b"-")) for header in headers]
    scope["headers"] = [
        header for header, name in dashed if name not in dropped and (name == header[0] or name not in _OF_PROXIES)
    ]


def client_ip(scope: Scope) -> str:
    """The caller's address in its canonical form, or "unknown"."""
    client = scope.get("client")
    return canonical(client[0] if client else None)


async def _without_proxy(db: AsyncSession, policies: Policies) -> list[str]:
    if not in_production() or ProxySettings.current().trusted_proxies:
        return []
    alone = "TRUSTED_PROXIES is empty: requests must arrive over TLS at this process itself"
    return [f"{alone}; behind a proxy name its address in TRUSTED_PROXIES"]


def install(app: FastAPI) -> None:
    hooks_of(app).hints.append(_without_proxy)
    app.add_middleware(ClientAddress, proxies=ProxySettings.current().trusted_proxies)
