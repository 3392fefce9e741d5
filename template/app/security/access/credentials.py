"""What callers send to be known, and whose it is.

Each kind of credential reads its header and verifies what it finds there; a request may send one kind. Who was verified
is kept for some seconds (`credential_cache.py`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app.database import after_commit
from app.security.access.credential_cache import CacheSettings, CredentialCache
from app.security.admission.request_shape import Headers
from app.security.core.events import Event, OnceAMinute, RequestContext
from app.security.core.problems import Problem
from app.security.http.client_address import client_prefix

REFUSALS_A_MINUTE = 1000  # different ones: an actor, a route and a reason


@dataclass(frozen=True, slots=True)
class Credential:
    """Which credential was used: its kind and the id of its row, never the secret itself.

    `authenticated_at` is when a person last proved who they are; refreshing does not renew it, and a program never did.
    """

    kind: str
    id: UUID
    authenticated_at: datetime | None


@dataclass(frozen=True)
class Principal:
    """Who is calling. `scopes` is None when the credential may do all that its owner may."""

    id: UUID
    name: str
    kind: Literal["person", "service"]
    roles: frozenset[str]
    scopes: frozenset[str] | None
    credential: Credential

    @cached_property
    def actor(self) -> str:  # as events name it, and requests are counted
        return str(self.id)


class InvalidCredential(Exception):
    """A credential of a known kind that does not hold; the reason is a code for the log alone."""


class CredentialKind(Protocol):
    """How one kind of credential travels and what it means."""

    name: str
    challenge: str  # the scheme of its WWW-Authenticate header
    always_limited: bool  # each of them names the scopes that it may use

    def read(self, headers: Headers) -> str | None:
        """What was sent of this kind, or None."""

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """Whose it is, and when it ends. Raises: InvalidCredential."""

    def openapi_scheme(self, scopes: list[str]) -> dict[str, Any]:
        """The security scheme object of OpenAPI; `scopes` are all that routes ask for."""


class Sent(NamedTuple):
    """One credential of a request, and the key under which it is cached."""

    kind: CredentialKind
    text: str
    key: bytes


OnIdentified = Callable[[HTTPConnection, Principal], Awaitable[None]]


class Credentials:
    """The kinds of credentials of one app, and who was verified with them in the last seconds."""

    def __init__(self, cache_seconds: float) -> None:
        self.kinds: list[CredentialKind] = []
        self.cache = CredentialCache[Principal](cache_seconds)
        self.on_identified: list[OnIdentified] = []  # told of each caller who was verified and not only remembered
        self.reported_refusals = OnceAMinute(REFUSALS_A_MINUTE)

    def kind(self, name: str) -> CredentialKind:
        return next(kind for kind in self.kinds if kind.name == name)

    def look(self, headers: Headers) -> list[Sent]:
        """What a request sends, of every kind."""
        sent = []
        for kind in self.kinds:
            if (text := kind.read(headers)) is not None:
                sent.append(Sent(kind, text, self.cache.key(kind.name, text)))
        return sent

    def remembered(self, sent: list[Sent], address: str) -> object:
        """Under whose name a request counts before it is verified: an account, an account at its address, an address.

        An account alone, while its credential is known to hold. Minutes later the name is all that is left: it keeps
        its caller apart from noisy neighbours, and whoever holds a credential that ended in between cannot use up what
        its owner may do.
        """
        source = client_prefix(address)
        if len(sent) != 1:
            return source
        if (principal := self.cache.get(sent[0].key)) is not None:
            return principal.actor
        account = self.cache.account_of(sent[0].key)
        return source if account is None else (str(account), source)


def credentials_of(connection: HTTPConnection) -> Credentials:
    return connection.scope["state"]["credentials"]  # type: ignore[no-any-return]


def challenge(kind: CredentialKind, status: int, error: str = "", detail: str | None = None, **extra: str) -> Problem:
    """A refusal with its RFC 6750 challenge: no error code where no credential was sent (section 3.1)."""
    parameters = {"realm": "api", **({"error": error} if error else {}), **extra}
    value = ", ".join(f'{name}="{text}"' for name, text in parameters.items())
    return Problem(status, detail=detail, headers={"WWW-Authenticate": f"{kind.challenge} {value}"})


def refuse(connection: HTTPConnection, problem: Problem, reason: str) -> Problem:
    """What to raise for a caller who is refused; the reason is for the log alone."""
    context: RequestContext = connection.state.context
    context.reason = reason
    if problem.status_code == 403:
        name = f"{context.actor} {context.route} {reason}"
        credentials_of(connection).reported_refusals.record(name, Event.AUTHZ_FAIL, reason=reason)
    return problem


async def identify(connection: HTTPConnection) -> Principal:
    """The caller behind a request or a WebSocket, whatever the route asks for.

    Raises: Problem 401 without a credential that holds, 400 with two.
    """
    credentials = credentials_of(connection)
    sent = _sent(connection, credentials)
    cache = credentials.cache
    principal = cache.get(sent.key)
    if principal is None:
        begun = cache.begin()
        try:
            principal, ends = await _verify(sent, connection)
        except Problem:  # refused, and not only unable to look
            cache.forget_name(sent.key)
            raise
        cache.keep(sent.key, principal, principal.id, (ends - datetime.now(UTC)).total_seconds(), begun)
        for tell in credentials.on_identified:
            await tell(connection, principal)
    connection.scope["state"]["context"].actor = principal.actor
    return principal


async def identify_again(connection: HTTPConnection) -> Principal:
    """Verify the credential of an open connection once more, whatever is cached. Raises: as `identify`."""
    principal, _ = await _verify(_sent(connection, credentials_of(connection)), connection)
    return principal


def _sent(connection: HTTPConnection, credentials: Credentials) -> Sent:
    sent: list[Sent] = connection.scope["state"]["sent"]
    if len(sent) == 1:
        return sent[0]
    if sent:
        raise refuse(connection, Problem(400, detail="Send one credential, not two."), "two_credentials")
    none = challenge(credentials.kinds[0], 401, detail="Who is calling? Send a credential.")
    raise refuse(connection, none, "no_credential")


async def _verify(sent: Sent, connection: HTTPConnection) -> tuple[Principal, datetime]:
    try:
        return await sent.kind.verify(sent.text, connection)
    except InvalidCredential as error:
        problem = challenge(sent.kind, 401, "invalid_token", "The credential does not hold.")
        raise refuse(connection, problem, str(error)) from None


def forget_on_commit(connection: HTTPConnection, db: AsyncSession, account: UUID) -> None:
    """Something of this account ends with this transaction: after its commit, nothing cached of it is believed."""
    cache = credentials_of(connection).cache
    after_commit(db, lambda: cache.forget(account))


def install(app: FastAPI) -> None:
    app.state.credentials = Credentials(CacheSettings.current().auth_cache_seconds)


def add_kind(app: FastAPI, kind: CredentialKind) -> None:
    """From now on callers may send this kind; the first one is named to who sends none."""
    app.state.credentials.kinds.append(kind)
