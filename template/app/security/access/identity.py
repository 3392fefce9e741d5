"""Who is calling. Every route depends on this, or says that it is public.

A route names what it asks for: `Caller` for anyone who is known, `require_scope("notes:read")` for a permission that a
credential may be limited to, `public` for nobody in particular. A credential that is limited to some scopes gets 403 on
every route that names none, so it never manages people, sessions or other credentials (ASVS 5.0 V8.2.1, V8.3.1).
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, params
from starlette.requests import HTTPConnection

from app.security.access import credentials
from app.security.access.credentials import CredentialKind, Principal, challenge, credentials_of, identify, refuse
from app.security.access.policy import Declaration, Policies, Policy
from app.security.core.hooks import hooks_of

RECENT = timedelta(minutes=15)


class Authenticate(Declaration):
    """The dependency behind `Caller`."""

    def declare(self, policy: Policy) -> None:
        policy.guarded = True

    async def __call__(self, connection: HTTPConnection) -> Principal:
        state = connection.scope["state"]
        principal: Principal | None = state.get("principal")
        if principal is None:
            principal = state["principal"] = await identify(connection)
        if principal.scopes is not None and not state.get("scope_checked"):
            self._check_scope(connection, principal.scopes)
            state["scope_checked"] = True
        return principal

    def _check_scope(self, connection: HTTPConnection, scopes: frozenset[str]) -> None:
        policies: Policies = connection.scope["state"]["policies"]
        policy = policies.of(connection.scope)
        if policy is None or not policy.scopes or not policy.scopes <= scopes:
            needed = " ".join(sorted(policy.scopes)) if policy else ""
            raise forbidden(connection, "insufficient_scope", scope=needed)


def forbidden(connection: HTTPConnection, reason: str, **extra: str) -> Exception:
    """403 for a caller who is known and may not; the event says why."""
    kind = _kind_of_caller(connection)
    present = {name: value for name, value in extra.items() if value}
    problem = challenge(kind, 403, "insufficient_scope", "This credential may not do that.", **present)
    return refuse(connection, problem, reason)


def _kind_of_caller(connection: HTTPConnection) -> CredentialKind:
    principal: Principal = connection.state.principal
    return credentials_of(connection).kind(principal.credential.kind)


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

    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.fresh_login = True

    async def __call__(self, connection: HTTPConnection) -> Principal:
        principal = await super().__call__(connection)
        proved = principal.credential.authenticated_at
        if proved is not None and datetime.now(UTC) - proved <= RECENT:
            return principal
        age = str(int(RECENT.total_seconds()))
        error = "insufficient_user_authentication"
        problem = challenge(_kind_of_caller(connection), 401, error, "Log in again first.", max_age=age)
        raise refuse(connection, problem, error)


recent_login = Depends(RequireRecentLogin())
"""This route changes somebody's power, so its caller has proved only just who they are."""


class _Public(Declaration):
    asks_nothing = True

    async def __call__(self) -> None: ...

    def declare(self, policy: Policy) -> None:
        policy.public = True


public: params.Depends = Depends(_Public())
"""This route is open to everyone, on purpose. It stands in `dependencies=[…]`."""


def _out_of_reach(app: FastAPI, policies: Policies) -> list[str]:
    """Routes that no caller could ever use: they name no scope, and every credential of this app is limited to some."""
    if not all(kind.always_limited for kind in app.state.credentials.kinds):
        return []
    return [
        f"{policy.name} names no scope, and every caller here is limited to scopes: add require_scope(…) or public"
        for policy in policies.all
        if policy.guarded and not policy.scopes
    ]


def install(app: FastAPI) -> None:
    credentials.install(app)
    hooks_of(app).checks.append(_out_of_reach)
