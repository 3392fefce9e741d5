"""Who is calling. Every route depends on this, or says that it is public.

A route names what it asks for: `Caller` for anyone who is known, `require_scope("notes:read")` for a permission that a
credential may be limited to, `public` for nobody in particular. A credential that is limited to some scopes gets 403 on
every route that names none, so it never manages people, sessions or other credentials (ASVS 5.0 V8.2.1, V8.3.1).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

from fastapi import Depends, FastAPI, params
from fastapi.exceptions import WebSocketException
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app.database import after_commit
from app.security import events
from app.security.credential_cache import CacheSettings, CredentialCache
from app.security.events import Event
from app.security.problems import Problem
from app.security.request_shape import Headers
from app.security.route_policy import Declaration, Policies, Policy

RECENT = timedelta(minutes=15)
POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1


@dataclass(frozen=True, slots=True)
class Credential:
    """Which credential was used: its kind and the id of its row, never the secret itself."""

    kind: str
    id: UUID
    authenticated_at: datetime  # when a person last proved who they are; refreshing does not renew it


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `scopes` is None when the credential may do all that its owner may."""

    id: UUID
    name: str
    kind: Literal["person", "service"]
    roles: frozenset[str]
    scopes: frozenset[str] | None
    credential: Credential


class InvalidCredential(Exception):
    """A credential of a known kind that does not hold; the reason is a code for the log alone."""


class CredentialKind(Protocol):
    """How one kind of credential travels and what it means."""

    name: str
    challenge: str  # the scheme of its WWW-Authenticate header

    def read(self, headers: Headers) -> str | None:
        """What was sent of this kind, or None."""

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """Whose it is, and when it ends. Raises: InvalidCredential."""

    def openapi_scheme(self, scopes: list[str]) -> dict[str, Any]:
        """The security scheme object of OpenAPI; `scopes` are all that routes ask for."""


def challenge(kind: CredentialKind, status: int, error: str = "", detail: str | None = None, **extra: str) -> Problem:
    """A refusal with its RFC 6750 challenge: no error code where no credential was sent (section 3.1)."""
    parameters = {"realm": "api", **({"error": error} if error else {}), **extra}
    value = ", ".join(f'{name}="{text}"' for name, text in parameters.items())
    return Problem(status, detail=detail, headers={"WWW-Authenticate": f"{kind.challenge} {value}"})


def _refuse(connection: HTTPConnection, problem: Problem, reason: str) -> Exception:
    connection.state.context.reason = reason
    if problem.status_code == 403:
        events.record(Event.AUTHZ_FAIL, outcome="failure", reason=reason)
    if connection.scope["type"] == "websocket":
        return WebSocketException(POLICY_VIOLATION)
    return problem


async def identify(connection: HTTPConnection) -> Principal:
    """The caller behind a request or a WebSocket, whatever the route asks for.

    Raises: Problem 401 without a credential that holds.
    """
    state = connection.scope["state"]
    kind, text = _sent(connection)
    cache: CredentialCache[Principal] = state["credential_cache"]
    key = cache.key(kind.name, text)
    principal = cache.get(key)
    if principal is None:
        begun = cache.begin()
        principal, ends = await _verify(kind, text, connection)
        cache.keep(key, principal, principal.id, (ends - datetime.now(UTC)).total_seconds(), begun)
    state["context"].actor = str(principal.id)
    return principal


async def identify_again(connection: HTTPConnection) -> Principal:
    """Verify the credential of an open connection once more, whatever is cached. Raises: as `identify`."""
    principal, _ = await _verify(*_sent(connection), connection)
    return principal


def _sent(connection: HTTPConnection) -> tuple[CredentialKind, str]:
    kinds: list[CredentialKind] = connection.scope["state"]["credential_kinds"]
    headers: Headers = connection.scope["state"]["headers"]
    for kind in kinds:
        if (text := kind.read(headers)) is not None:
            return kind, text
    raise _refuse(connection, challenge(kinds[0], 401, detail="Who is calling? Send a credential."), "no_credential")


async def _verify(kind: CredentialKind, text: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
    try:
        return await kind.verify(text, connection)
    except InvalidCredential as error:
        problem = challenge(kind, 401, "invalid_token", "The credential does not hold.")
        raise _refuse(connection, problem, str(error)) from None


class Authenticate(Declaration):
    """The dependency behind `Caller`."""

    def declare(self, policy: Policy) -> None:
        policy.guarded = True

    async def __call__(self, connection: HTTPConnection) -> Principal:
        state = connection.scope["state"]
        principal: Principal | None = state.get("principal")
        if principal is None:
            principal = state["principal"] = await identify(connection)
        if principal.scopes is not None:
            self._check_scope(connection, principal.scopes)
        return principal

    def _check_scope(self, connection: HTTPConnection, scopes: frozenset[str]) -> None:
        policies: Policies = connection.state.policies
        policy = policies.of(connection.scope)
        if policy is None or not policy.scopes or not policy.scopes <= scopes:
            needed = " ".join(sorted(policy.scopes)) if policy else ""
            raise forbidden(connection, "insufficient_scope", scope=needed)


def forbidden(connection: HTTPConnection, reason: str, **extra: str) -> Exception:
    """403 for a caller who is known and may not; the event says why."""
    kind: CredentialKind = connection.state.credential_kinds[0]
    present = {name: value for name, value in extra.items() if value}
    problem = challenge(kind, 403, "insufficient_scope", "This credential may not do that.", **present)
    return _refuse(connection, problem, reason)


authenticate = Authenticate()
Caller = Annotated[Principal, Depends(authenticate)]
"""The caller of a route, a `Principal`."""


class RequireScope(Authenticate):
    """The dependency behind `require_scope`: a credential limited to other scopes is refused."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.scopes.add(self.scope)

    async def __call__(self, connection: HTTPConnection) -> Principal:
        principal = await super().__call__(connection)
        if principal.scopes is not None and self.scope not in principal.scopes:
            raise forbidden(connection, "insufficient_scope", scope=self.scope)
        return principal


def require_scope(scope: str) -> Any:
    """This route asks for a permission, named `resource:action`. It stands in `dependencies=[…]`."""
    return Depends(RequireScope(scope))


class RequireRecentLogin(Authenticate):
    """The log-in must be at most 15 minutes old; refreshing does not renew it (RFC 9470)."""

    async def __call__(self, connection: HTTPConnection) -> Principal:
        principal = await super().__call__(connection)
        if datetime.now(UTC) - principal.credential.authenticated_at <= RECENT:
            return principal
        kind: CredentialKind = connection.state.credential_kinds[0]
        age = str(int(RECENT.total_seconds()))
        error = "insufficient_user_authentication"
        raise _refuse(connection, challenge(kind, 401, error, "Log in again first.", max_age=age), error)


recent_login = Depends(RequireRecentLogin())
"""This route changes somebody's power, so its caller has proved only just who they are."""


class _Public(Declaration):
    async def __call__(self) -> None: ...

    def declare(self, policy: Policy) -> None:
        policy.public = True


public: params.Depends = Depends(_Public())
"""This route is open to everyone, on purpose. It stands in `dependencies=[…]`."""


def forget_on_commit(connection: HTTPConnection, db: AsyncSession, account: UUID) -> None:
    """Something of this account ends with this transaction: after its commit, nothing cached of it is believed."""
    cache: CredentialCache[Principal] = connection.state.credential_cache
    after_commit(db, lambda: cache.forget(account))


def install(app: FastAPI, kinds: list[CredentialKind]) -> None:
    app.state.credential_kinds = kinds
    app.state.credential_cache = CredentialCache[Principal](CacheSettings.current().auth_cache_seconds)
