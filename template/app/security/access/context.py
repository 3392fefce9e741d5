"""What is known about one request: the policy of its route, its credentials and its caller."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.security.access.policy import Policies, Policy
from app.security.core.events import EventContext

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


@dataclass(frozen=True)
class Principal:
    """The authenticated caller. `scopes` is None when the credential may do all that its owner may."""

    id: UUID
    name: str
    kind: Literal["person", "service"]
    roles: frozenset[str]
    scopes: frozenset[str] | None
    credential: Credential

    @cached_property
    def actor(self) -> str:  # as events name it, and requests are counted
        return str(self.id)


class CredentialKind(Protocol):
    """How one kind of credential is sent and verified."""

    name: str
    challenge: str  # the scheme of its WWW-Authenticate header
    always_limited: bool  # every credential of this kind is limited to some scopes

    def read(self, headers: Headers) -> str | None:
        """The credential of this kind in these headers, or None."""

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """The caller, and when the credential expires. Raises: InvalidCredential."""

    def openapi_scheme(self, scopes: list[str]) -> dict[str, Any]:
        """The security scheme object of OpenAPI; `scopes` are all that routes require."""


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
    rate_limit_key: object = None  # an account, an account at its address, or an address
    principal: Principal | None = None
    scopes_checked: bool = False


def context_in(scope: Scope) -> RequestContext:
    return scope["state"]["context"]  # type: ignore[no-any-return]


def context_of(connection: HTTPConnection) -> RequestContext:
    return context_in(connection.scope)
