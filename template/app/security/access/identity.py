"""Authentication and authorisation of requests, before routing. Every route requires it, or declares that it is public.

`Caller` requires authentication, `require_scope("notes:read")` a permission that a credential may be limited to, and
`public` opts out. A credential that is limited to some scopes gets 403 on every route that requires none, so it never
manages people, sessions or other credentials (ASVS 5.0 V8.2.1, V8.3.1).
"""

from collections import Counter
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, params
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access import credentials
from app.security.access.context import Principal, RequestContext, context_in, context_of
from app.security.access.credentials import identify, refuse
from app.security.access.policy import Declaration, InsecureApp, Policies, Policy, Requirement, hooks_of
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import Problem
from app.security.core.settings import in_production

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


def forbidden(connection: HTTPConnection, reason: str, scope: str = "") -> Problem:
    """403 for an authenticated caller; the event names the reason."""
    return refuse(connection, 403, reason, "This credential may not do that.", "insufficient_scope", scope=scope)


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
    hooks_of(app).checks.append(_unreachable)


def add_access_layer(app: FastAPI) -> None:
    app.add_middleware(Access, shared=app)
