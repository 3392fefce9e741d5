"""Callers: what is known about one request, its credential and its caller, and who was verified seconds ago.

Each kind of credential reads its own header; a request may send one kind. Only what was fully verified is cached, for
`AUTH_CACHE_SECONDS` at most and never longer than the credential lives. A revocation drops its account's entries after
its commit, and a verification that began before that commit is not cached. So a revocation holds at once in this
process, and after `AUTH_CACHE_SECONDS` in every other one (ASVS 5.0 V7.4.1).
"""

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn, Protocol
from uuid import UUID

from fastapi import FastAPI
from pydantic import Field
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope

from app.security.access.policy import Policies, Policy
from app.security.core.events import EventContext, OnceAMinute
from app.security.core.settings import SecuritySettings

CAPACITY = 10_000
REFUSALS_A_MINUTE = 1000  # different ones: an actor, a route and a reason
NAME_SECONDS = 600.0  # how long a credential's requests count for its account after its last verification
Headers = dict[bytes, bytes]  # those that must not be repeated


@dataclass(frozen=True, slots=True)
class Credential:
    """Which credential was used: its kind and the id of its row, never the secret itself.

    `authenticated_at` is when a person last logged in; refreshing does not renew it, and a program never did.
    `version` is the account's `token_version` when a person's token was issued.
    """

    kind: str
    id: UUID
    authenticated_at: datetime | None
    version: int | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> NoReturn:
        """FastAPI would read a parameter `caller: Principal` from the body, which the client writes."""
        raise TypeError("a Principal is no body: write `caller: Caller`, and respond with a model of your own")


class _NotADependency:
    """Explains `dependencies=[Caller]`: FastAPI reads this attribute of the annotated type."""

    def __get__(self, principal: object, owner: type) -> NoReturn:
        raise AttributeError("dependencies=[Caller]: Caller annotates a parameter; write Depends(authenticate) here")


@dataclass(frozen=True)
class Principal:
    """The authenticated caller. `scopes` is None when the credential may do all that its owner may."""

    id: UUID
    name: str
    kind: Literal["person", "service"]
    roles: frozenset[str]
    scopes: frozenset[str] | None
    credential: Credential
    dependency: ClassVar = _NotADependency()

    @cached_property
    def actor(self) -> str:  # as events name it, and requests are counted
        return str(self.id)


class CredentialKind(Protocol):
    """How one kind of credential is sent and verified."""

    name: str
    header: bytes  # the only place it is read from: no query, cookie or form (ASVS 5.0 V14.2.1, RFC 9700 section 4.3.2)
    challenge: str  # the scheme in WWW-Authenticate, and in Authorization
    always_limited: bool  # every credential of this kind is limited to some scopes

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """The caller, and when the credential expires. Raises: InvalidCredential."""

    def openapi_scheme(self, scopes: dict[str, str]) -> dict[str, Any]:
        """The security scheme object of OpenAPI; `scopes` are all that routes require, with the routes of each."""


class Sent(NamedTuple):
    """One credential of a request, and its key in the cache."""

    kind: CredentialKind
    text: str
    key: bytes


@dataclass(slots=True, kw_only=True)
class RequestContext(EventContext):
    """One request or WebSocket, from its arrival to its access event."""

    app: FastAPI  # the secured app, also where a mounted app answers
    path: str  # without the root path: what routing compares
    policies: Policies = field(init=False)
    policy: Policy | None = None  # of the route that will answer
    sent: list[Sent] = field(default_factory=list)  # the credentials of this request
    rate_limit: tuple[tuple[bytes, bytes], ...] = ()  # headers that tell what is left of it
    rate_limit_key: object = None  # an account, an account at its address, or an address
    principal: Principal | None = None
    credential: UUID | None = None  # the key or session, also one that is refused
    verified_until: float = 0  # when `principal` is verified again, or after other than so many revocations
    revocations: int = 0
    on_start: list[Callable[[Message], None]] = field(default_factory=list)  # called before a response starts
    timeout: asyncio.Timeout | None = None  # until a response has started

    def started(self) -> None:
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(None)


def context_in(scope: Scope) -> RequestContext:
    return scope["state"]["context"]  # type: ignore[no-any-return]


class InvalidCredential(Exception):
    """A credential of a known kind that is invalid or has expired; the reason is a code for the log alone."""


class CacheSettings(SecuritySettings):
    auth_cache_seconds: float = Field(5, ge=0, le=30)  # 0 = every request reads the database


class _Entry(NamedTuple):
    caller: Principal
    until: float
    named_until: float  # a rate limit counts for the account; it grants nothing


async def happens(event: asyncio.Event, seconds: float) -> None:
    """Wait until this event is set, but no longer than so many seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class CredentialCache:
    """Verified callers by the digest of their credential. The account's id is kept longer: it grants nothing."""

    def __init__(self, seconds: float, capacity: int = CAPACITY) -> None:
        self.seconds = seconds
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.revocations = 0  # read it before a verification reads the database, and hand it to `keep`
        self._waiting: dict[UUID, set[asyncio.Event]] = {}

    @staticmethod
    def key(kind: str, credential: str) -> bytes:
        return hashlib.sha256(f"{kind} {credential}".encode("utf-8", "surrogatepass")).digest()

    def get(self, key: bytes) -> Principal | None:
        entry = self._entries.get(key)
        return entry.caller if entry is not None and entry.until > time.monotonic() else None

    def account_of(self, key: bytes) -> UUID | None:
        """The account of this credential when it was last verified, for rate limits alone."""
        entry = self._entries.get(key)
        return entry.caller.id if entry is not None and entry.named_until > time.monotonic() else None

    def keep(self, key: bytes, caller: Principal, lifetime: float, begun: int) -> None:
        """Cache a verified caller for at most `lifetime` seconds, unless anything was revoked since `begun`."""
        if lifetime <= 0 or begun != self.revocations:
            return
        self.drop(key)
        now = time.monotonic()
        self._entries[key] = _Entry(caller, now + min(self.seconds, lifetime), now + NAME_SECONDS)
        if len(self._entries) > self._capacity:
            self.drop(next(iter(self._entries)))

    def forget(self, account: UUID) -> None:
        """Drop every entry of an account. Call this after the commit that revoked something of it."""
        self.revocations += 1
        for key in [key for key, entry in self._entries.items() if entry.caller.id == account]:
            self.drop(key)
        for event in self._waiting.get(account, ()):
            event.set()

    async def revoked(self, account: UUID | None, seconds: float) -> None:
        """Wait until `forget` is called for this account, but no longer than so many seconds."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(account, set()) if account else set()
        waiting.add(event)
        try:
            await happens(event, seconds)
        finally:
            waiting.discard(event)
            if account and not waiting:
                self._waiting.pop(account, None)

    def drop(self, key: bytes) -> None:
        self._entries.pop(key, None)


class Credentials:
    """The kinds of credentials of one app, and the cache of verified callers."""

    def __init__(self) -> None:
        self.kinds: list[CredentialKind] = []  # a request without a credential is challenged for the first
        self.cache = CredentialCache(CacheSettings.current().auth_cache_seconds)
        # Awaited for each caller who was not known yet when the request arrived.
        self.on_identified: list[Callable[[HTTPConnection, Principal], Awaitable[None]]] = []
        self.reported_refusals = OnceAMinute(REFUSALS_A_MINUTE)

    def extract(self, headers: Headers) -> list[Sent]:
        """The credentials of a request, of every kind."""
        sent = []
        for kind in self.kinds:
            if (value := headers.get(kind.header)) is None:
                continue
            text = value.decode("latin-1")
            if kind.header == b"authorization":
                scheme, _, text = text.partition(" ")
                if scheme.lower() != kind.challenge.lower():
                    continue
                text = text.strip(" ")
            sent.append(Sent(kind, text, self.cache.key(kind.name, text)))
        return sent

    def rate_limit_key(self, sent: list[Sent], source: str) -> object:
        """What a request counts for before it is verified: the account of a cached credential, or the address.

        For some minutes more it is the account at this address, so that no noisy neighbour uses it up.
        """
        if len(sent) != 1:
            return source
        if (principal := self.cache.get(sent[0].key)) is not None:
            return principal.actor
        account = self.cache.account_of(sent[0].key)
        return source if account is None else (str(account), source)


def credentials_of(connection: HTTPConnection) -> Credentials:
    return connection.scope["state"]["credentials"]  # type: ignore[no-any-return]
