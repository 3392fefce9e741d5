"""Authentication and authorisation of requests, before routing. Every route requires it, or declares that it is public.

`Caller` requires authentication, `require_scope("notes:read")` a permission that a credential may be limited to, and
`public` opts out. A credential that is limited to some scopes gets 403 on every route that requires none, so it never
manages people, sessions or other credentials (ASVS 5.0 V8.2.1, V8.3.1).
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, params
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import database
from app.database import DbSession
from app.security.access import credentials
from app.security.access.accounts import roles_of
from app.security.access.context import CredentialKind, Principal, RequestContext, context_in, context_of
from app.security.access.credentials import challenge, credentials_of, identify, refuse
from app.security.access.policy import Declaration, InsecureApp, Policies, Policy, Requirement, hooks_of
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import Problem
from app.security.core.settings import in_production
from app.security.core.tables import Account, AccountRole, Session

RECENT = timedelta(minutes=15)
RESPONSE_STARTS = ("http.response.start", "websocket.accept")


class Authenticate(Requirement):
    """The dependency behind `Caller`."""

    def declare(self, policy: Policy) -> None:
        policy.guarded = True

    async def check(self, connection: HTTPConnection) -> Principal:
        context = context_of(connection)
        principal = context.principal
        if principal is None:
            principal = context.principal = await identify(connection)
        if principal.scopes is not None and not context.scopes_checked:
            _check_scopes(connection, context.policy, principal.scopes)
            context.scopes_checked = True
        return principal


def _check_scopes(connection: HTTPConnection, policy: Policy | None, scopes: frozenset[str]) -> None:
    if policy is None or not policy.scopes or not policy.scopes <= scopes:
        needed = " ".join(sorted(policy.scopes)) if policy else ""
        raise forbidden(connection, "insufficient_scope", scope=needed)


def forbidden(connection: HTTPConnection, reason: str, **extra: str) -> Exception:
    """403 for an authenticated caller; the event names the reason."""
    present = {name: value for name, value in extra.items() if value}
    detail = "This credential may not do that."
    problem = challenge(_kind_of_caller(connection), 403, "insufficient_scope", detail, **present)
    return refuse(connection, problem, reason)


def _kind_of_caller(connection: HTTPConnection) -> CredentialKind:
    principal = context_of(connection).principal
    assert principal is not None  # noqa: S101  # nosec B101  # callers are authenticated first
    return credentials_of(connection).kind(principal.credential.kind)


authenticate = Authenticate()
Caller = Annotated[Principal, Depends(authenticate)]
"""The authenticated caller of a route, a `Principal`."""


class RequireScope(Authenticate):
    """The dependency behind `require_scope`: a credential limited to other scopes is refused."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.scopes.add(self.scope)

    async def check(self, connection: HTTPConnection) -> Principal:
        principal = await super().check(connection)
        if principal.scopes is not None and self.scope not in principal.scopes:
            raise forbidden(connection, "insufficient_scope", scope=self.scope)
        return principal


def require_scope(scope: str) -> Any:
    """This route requires a permission, named `resource:action`. It stands in `dependencies=[…]`."""
    return Depends(RequireScope(scope))


class RequireRecentLogin(Authenticate):
    """The login must be at most 15 minutes old; refreshing does not renew it (RFC 9470)."""

    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.fresh_login = True

    async def check(self, connection: HTTPConnection) -> Principal:
        principal = await super().check(connection)
        authenticated_at = principal.credential.authenticated_at
        if authenticated_at is not None and datetime.now(UTC) - authenticated_at <= RECENT:
            return principal
        age = str(int(RECENT.total_seconds()))
        error = "insufficient_user_authentication"
        problem = challenge(_kind_of_caller(connection), 401, error, "Log in again first.", max_age=age)
        raise refuse(connection, problem, error)


recent_login = Depends(RequireRecentLogin())
"""The caller of this route logged in at most 15 minutes ago."""


async def confirm_caller(connection: HTTPConnection, db: AsyncSession, role: str | None = None) -> None:
    """Check the caller again in the transaction that grants power: account, token version, session and role.

    Nothing cached is used. The caller's account, and with a role the account of everyone who has it, are locked in one
    order until the transaction ends: a revocation has either committed before, and is seen here, or waits.
    Raises: Problem 401, or 403 when the role is gone.
    """
    caller = await authenticate(connection)
    peers = select(AccountRole.account_id).where(AccountRole.role == role)
    locked = select(Account).where((Account.id == caller.id) | Account.id.in_(peers)).order_by(Account.id)
    fresh = locked.with_for_update().execution_options(populate_existing=True)
    found = {account.id: account for account in await db.scalars(fresh)}
    account, session = found.get(caller.id), await db.get(Session, caller.credential.id)
    active = account is not None and account.is_active and account.token_version == caller.credential.version
    if not active or session is None or session.ended_at is not None or session.expires_at <= datetime.now(UTC):
        detail = "The credential is invalid or has expired."
        problem = challenge(_kind_of_caller(connection), 401, "invalid_token", detail)
        raise refuse(connection, problem, "session_ended")
    if role is not None and role not in await roles_of(db, caller.id):
        raise forbidden(connection, "insufficient_role")


class ConfirmCaller:
    """The dependency behind `GrantingSession`; a role is one that the caller must still have."""

    def __init__(self, role: str | None = None) -> None:
        self.role = role

    async def __call__(
        self, connection: HTTPConnection, db: DbSession, caller: Annotated[Principal, recent_login]
    ) -> AsyncSession:
        await confirm_caller(connection, db, self.role)
        return db


GrantingSession = Annotated[AsyncSession, Depends(ConfirmCaller())]
"""`DbSession` for a route that grants power, such as a key: the caller logged in recently, and is confirmed in it."""


def _unconfirmed(app: FastAPI, policies: Policies) -> list[str]:
    """Routes that require a recent login and change the database without confirming their caller."""
    return [
        f"{policy.name} requires a recent login and uses DbSession: use GrantingSession, which confirms the caller"
        for policy in policies.all
        if policy.fresh_login and not policy.methods <= {"GET", "HEAD"} and database.session in policy.calls
        if not any(isinstance(call, ConfirmCaller) for call in policy.calls)
    ]


class _Public(Declaration):
    async def __call__(self) -> None: ...

    def declare(self, policy: Policy) -> None:
        policy.public = True


public: params.Depends = Depends(_Public())
"""This route opts out of authentication. It stands in `dependencies=[…]`."""


class Access:
    """Admits a request to a route whose policy it meets, before its body is read and any other dependency runs.

    So the body of an unauthenticated client is never parsed, and no route class can skip the check.
    """

    def __init__(self, app: ASGIApp, shared: FastAPI) -> None:
        self.app = app
        self.shared = shared
        self.overridable = not in_production()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        context = context_in(scope)
        try:
            policy = await self._admit(scope, context)
        except Problem as problem:
            return await self._refuse(problem, scope, receive, send)

        async def from_that_route(message: Message) -> None:
            if message["type"] in RESPONSE_STARTS and message.get("status", 200) < 400:
                _check_endpoint(policy, scope)
            await send(message)

        await self.app(scope, receive, from_that_route)

    async def _admit(self, scope: Scope, context: RequestContext) -> Policy:
        """Raises: Problem 401, 403, 404, 405 or 422."""
        policy = context.policy
        if policy is None:
            methods = [] if scope["type"] == "websocket" else context.policies.methods(context.path)
            raise Problem(405, headers={"Allow": ", ".join(methods)}) if methods else Problem(404)
        # Overridden dependencies, as in tests, are called by FastAPI alone.
        if policy.requirements and not (self.overridable and self.shared.dependency_overrides):
            connection = HTTPConnection(scope)
            for requirement in policy.requirements:
                await requirement.check(connection)
        if b"&" in scope["query_string"]:
            _check_query(policy, scope, context)
        return policy

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with the app's exception handlers: an owner's own for 404, for example."""

        async def refused(scope: Scope, receive: Receive, send: Send) -> None:
            raise problem

        handlers = ExceptionMiddleware(refused, handlers=self.shared.exception_handlers)
        await handlers(scope, receive, send)


def _check_query(policy: Policy, scope: Scope, context: RequestContext) -> None:
    """Two parsers may read different ones of a repeated parameter (ASVS 5.0 V15.3.7). Raises: Problem 422."""
    sent = Counter(name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    repeated = sorted(name for name in policy.single_parameters if sent[name] > 1)
    if not repeated:
        return
    reported: OnceAMinute = scope["state"]["invalid_requests_reported"]
    reported.record(f"{context.client_ip} {policy.path}", Event.INPUT_VALIDATION_FAIL)
    wrong = [{"pointer": f"/query/{name}", "detail": "is repeated", "code": "repeated"} for name in repeated]
    raise Problem(422, detail="The request is not valid.", errors=wrong)


def _check_endpoint(policy: Policy, scope: Scope) -> None:
    """Routing must have chosen the route whose policy was enforced. Raises: InsecureApp."""
    endpoint = scope.get("endpoint", policy.endpoint)  # absent where a middleware of the owner's responded
    if policy.endpoint is not None and endpoint is not policy.endpoint:
        raise InsecureApp(f"{policy.name} was answered by another route, which was added after the start")


def _unreachable(app: FastAPI, policies: Policies) -> list[str]:
    """Routes that require no scope, in an app where every credential is limited to scopes."""
    if not all(kind.always_limited for kind in app.state.credentials.kinds):
        return []
    return [
        f"{policy.name} requires no scope, and every credential is limited to scopes: add require_scope(…) or public"
        for policy in policies.all
        if policy.guarded and not policy.scopes
    ]


def install(app: FastAPI) -> None:
    credentials.install(app)
    hooks_of(app).checks += [_unreachable, _unconfirmed]


def add_access_layer(app: FastAPI) -> None:
    app.add_middleware(Access, shared=app)
