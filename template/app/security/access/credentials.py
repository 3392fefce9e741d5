"""Verifies the credential of a request, and caches who was verified for some seconds.

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
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from fastapi import FastAPI
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app.database import after_commit
from app.security.access.context import Credential as Credential
from app.security.access.context import CredentialKind, Headers, Sent, context_of
from app.security.access.context import Principal as Principal
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import Problem
from app.security.core.settings import SecuritySettings

CAPACITY = 10_000
REFUSALS_A_MINUTE = 1000  # different ones: an actor, a route and a reason
NAME_SECONDS = 600.0  # how long a credential's requests count for its account after its last verification
OnIdentified = Callable[[HTTPConnection, Principal], Awaitable[None]]


class InvalidCredential(Exception):
    """A credential of a known kind that is invalid or has expired; the reason is a code for the log alone."""


class CacheSettings(SecuritySettings):
    auth_cache_seconds: float = Field(5, ge=0, le=30)  # 0 = every request reads the database


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Principal
    until: float
    named_until: float


async def happens(event: asyncio.Event, seconds: float) -> None:
    """Wait until this event is set, but no longer than so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class CredentialCache:
    """Verified callers by the digest of their credential. The account's id is kept longer: it grants nothing."""

    def __init__(self, seconds: float, capacity: int = CAPACITY) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._accounts: dict[UUID, set[bytes]] = {}
        self._revocations = 0
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

    def begin(self) -> int:
        """Call this before a verification reads the database, and hand its result to `keep`."""
        return self._revocations

    def keep(self, key: bytes, caller: Principal, lifetime: float, begun: int) -> None:
        """Cache a verified caller for at most `lifetime` seconds, unless anything was revoked since `begun`."""
        if lifetime <= 0 or begun != self._revocations:
            return
        self.drop(key)
        now = time.monotonic()
        self._entries[key] = _Entry(caller, now + min(self._seconds, lifetime), now + NAME_SECONDS)
        self._accounts.setdefault(caller.id, set()).add(key)
        if len(self._entries) > self._capacity:
            self.drop(next(iter(self._entries)))

    def forget(self, account: UUID) -> None:
        """Drop every entry of an account. Call this after the commit that revoked something of it."""
        self._revocations += 1
        for key in tuple(self._accounts.get(account, ())):
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
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        keys = self._accounts[entry.caller.id]
        keys.discard(key)
        if not keys:
            del self._accounts[entry.caller.id]


class Credentials:
    """The kinds of credentials of one app, and the cache of verified callers."""

    def __init__(self, cache_seconds: float) -> None:
        self.kinds: list[CredentialKind] = []
        self.cache = CredentialCache(cache_seconds)
        self.on_identified: list[OnIdentified] = []  # awaited for each caller who was verified, not for cached ones
        self.reported_refusals = OnceAMinute(REFUSALS_A_MINUTE)

    def extract(self, headers: Headers) -> list[Sent]:
        """The credentials of a request, of every kind."""
        sent = []
        for kind in self.kinds:
            if (text := kind.read(headers)) is not None:
                sent.append(Sent(kind, text, self.cache.key(kind.name, text)))
        return sent

    def rate_limit_key(self, sent: list[Sent], source: str) -> object:
        """What a request counts for before it is verified: an account, an account at its address, or an address.

        It is the account alone while the credential is cached as valid. For some minutes more it is the account at
        this address: a noisy neighbour cannot use up what the account may do, nor can a revoked credential.
        """
        if len(sent) != 1:
            return source
        if (principal := self.cache.get(sent[0].key)) is not None:
            return principal.actor
        account = self.cache.account_of(sent[0].key)
        return source if account is None else (str(account), source)


def credentials_of(connection: HTTPConnection) -> Credentials:
    return context_of(connection).app.state.credentials  # type: ignore[no-any-return]


def refuse(connection: HTTPConnection, status: int, reason: str, detail: str, error: str = "", **extra: str) -> Problem:
    """Log why a caller is refused, and return what to raise, with its RFC 6750 challenge: no error code where no
    credential was sent (section 3.1).
    """
    context, credentials = context_of(connection), credentials_of(connection)
    context.reason = reason
    if status == 403:
        name = f"{context.actor} {context.route} {reason}"
        credentials.reported_refusals.record(name, Event.AUTHZ_FAIL, reason=reason)
    kind = context.sent[0].kind if context.sent else credentials.kinds[0]
    parameters = {"realm": "api", "error": error, **extra}
    value = ", ".join(f'{name}="{text}"' for name, text in parameters.items() if text)
    return Problem(status, detail=detail, headers={"WWW-Authenticate": f"{kind.challenge} {value}"})


async def identify(connection: HTTPConnection) -> Principal:
    """The caller behind a request or a WebSocket. Raises: Problem 401 without a valid credential, 400 with two."""
    context, credentials = context_of(connection), credentials_of(connection)
    sent = _only_one(connection)
    cache = credentials.cache
    principal = cache.get(sent.key)
    if principal is None:
        begun = cache.begin()
        try:
            principal, ends = await _verify(sent, connection)
        except Problem:  # refused; any other exception means that it could not be checked
            cache.drop(sent.key)
            raise
        cache.keep(sent.key, principal, (ends - datetime.now(UTC)).total_seconds(), begun)
        for tell in credentials.on_identified:
            await tell(connection, principal)
    context.actor = principal.actor
    return principal


async def identify_again(connection: HTTPConnection) -> Principal:
    """Verify the credential of an open connection once more, past the cache. Raises: as `identify`."""
    principal, _ = await _verify(_only_one(connection), connection)
    return principal


def _only_one(connection: HTTPConnection) -> Sent:
    context = context_of(connection)
    if not context.sent:
        raise refuse(connection, 401, "no_credential", "Authentication required.")
    if len(context.sent) > 1:
        context.reason = "two_credentials"
        raise Problem(400, detail="Send one credential, not two.")
    return context.sent[0]


async def _verify(sent: Sent, connection: HTTPConnection) -> tuple[Principal, datetime]:
    try:
        return await sent.kind.verify(sent.text, connection)
    except InvalidCredential as error:
        raise invalid(connection, str(error)) from None


def invalid(connection: HTTPConnection, reason: str) -> Problem:
    """401 with one response for every reason."""
    return refuse(connection, 401, reason, "The credential is invalid or has expired.", "invalid_token")


def forget_on_commit(connection: HTTPConnection, db: AsyncSession, account: UUID) -> None:
    """Drop what is cached of this account after the commit of this transaction, which revokes something of it."""
    cache = credentials_of(connection).cache
    after_commit(db, lambda: cache.forget(account))


def install(app: FastAPI) -> None:
    app.state.credentials = Credentials(CacheSettings.current().auth_cache_seconds)


def add_kind(app: FastAPI, kind: CredentialKind) -> None:
    """Accept this kind of credential; a request without one is challenged for the first kind."""
    app.state.credentials.kinds.append(kind)
