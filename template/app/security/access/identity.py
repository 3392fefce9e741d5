"""Authentication and authorisation of requests, before routing. Every route requires it, or declares that it is public.

`Caller` requires authentication, `require_scope("notes:read")` a permission that a credential may be limited to, and
`public` opts out. A credential that is limited to some scopes gets 403 on every route that requires none, so it never
manages people, sessions or other credentials (ASVS 5.0 V8.2.1, V8.3.1).
"""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, params
from fastapi.exceptions import RequestValidationError
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.credentials import InvalidCredential, Principal, Sent, context_in, credentials_of
from app.security.access.policy import Declaration, InsecureApp, Policy, Requirement
from app.security.core.events import Event, current
from app.security.core.problems import Problem
from app.security.core.settings import in_production

# The problem type for each error code of a challenge, so that a page can tell which login helps.
PROBLEM_TYPES = {
    "": "authentication-required",
    "invalid_token": "invalid-credential",  # nosec B105  # the name of a problem type
    "insufficient_user_authentication": "recent-login-required",
    "insufficient_scope": "insufficient-scope",
}


def refuse(connection: HTTPConnection, status: int, reason: str, detail: str, error: str = "", **extra: str) -> Problem:
    """Log why a caller is refused. Returns what to raise; without a credential no error code (RFC 6750 section 3.1)."""
    context, credentials = context_in(connection.scope), credentials_of(connection)
    context.reason = reason
    if status == 403 or error == "insufficient_user_authentication":
        name = f"{context.actor} {context.route} {reason}"
        credentials.reported_refusals.record(name, Event.AUTHZ_FAIL, reason=reason)
    kind = context.sent[0].kind if context.sent else credentials.kinds[0]
    parameters = {"realm": "api", "error": error, **extra}
    value = ", ".join(f'{name}="{text}"' for name, text in parameters.items() if text)
    return Problem(status, PROBLEM_TYPES[error], detail, {"WWW-Authenticate": f"{kind.challenge} {value}"})


async def identify(connection: HTTPConnection) -> Principal:
    """The caller behind a request or a WebSocket. Raises: Problem 401 without a valid credential, 400 with two."""
    context, credentials = context_in(connection.scope), credentials_of(connection)
    sent, cache = _only_one(connection), credentials.cache
    principal = cache.get(sent.key)
    if principal is None:
        begun = cache.revocations
        try:
            principal, ends = await verify(connection)
        except Problem:  # refused; any other exception means that it could not be checked
            cache.drop(sent.key)
            raise
        cache.keep(sent.key, principal, (ends - datetime.now(UTC)).total_seconds(), begun)
    if context.rate_limit_key != principal.actor:  # also where another request was verified meanwhile
        for tell in credentials.on_identified:
            await tell(connection, principal)
    context.actor, context.credential = principal.actor, principal.credential.id
    return principal


def _only_one(connection: HTTPConnection) -> Sent:
    context = context_in(connection.scope)
    if not context.sent:
        raise refuse(connection, 401, "no_credential", "Authentication required.")
    if len(context.sent) > 1:
        context.reason = "two_credentials"
        raise Problem(400, detail="Send one credential, not two.")
    return context.sent[0]


async def verify(connection: HTTPConnection) -> tuple[Principal, datetime]:
    """The caller, past the cache, and when the credential expires. Raises: as `identify`."""
    sent = _only_one(connection)
    try:
        return await sent.kind.verify(sent.text, connection)
    except InvalidCredential as error:
        raise invalid(connection, str(error)) from None


def invalid(connection: HTTPConnection, reason: str) -> Problem:
    """401 with one response for every reason."""
    return refuse(connection, 401, reason, "The credential is invalid or has expired.", "invalid_token")


class Authenticate(Requirement):
    """The dependency behind `Caller`; a credential that is limited needs these scopes and all of its route's."""

    scopes: frozenset[str] = frozenset()

    def declare(self, policy: Policy) -> None:
        policy.guarded = True
        policy.scopes |= self.scopes

    async def check(self, connection: HTTPConnection) -> Principal:
        context, cache = context_in(connection.scope), credentials_of(connection).cache
        principal = context.principal
        # Again after a body that came slowly: the credential may have been revoked meanwhile.
        is_outdated = cache.revocations != context.revocations or time.monotonic() > context.verified_until
        if principal is None or is_outdated:
            context.revocations, context.verified_until = cache.revocations, time.monotonic() + 1  # a cached one ages
            principal = context.principal = await identify(connection)
        if principal.scopes is not None:
            needed = self.scopes | (context.policy.scopes if context.policy else set())  # below a mount these too
            if not needed or not needed <= principal.scopes:
                raise forbidden(connection, "insufficient_scope", scope=" ".join(sorted(needed)))
        return principal


def forbidden(connection: HTTPConnection, reason: str, scope: str = "") -> Problem:
    """403 for an authenticated caller; the event names the reason."""
    return refuse(connection, 403, reason, "This credential may not do that.", "insufficient_scope", scope=scope)


authenticate = Authenticate()
Caller = Annotated[Principal, Depends(authenticate)]
"""The authenticated caller of a route: `id`, `name`, `kind` ("person" or "service"), `roles`, `scopes` (None: all)."""


class RequireScope(Authenticate):
    """The dependency behind `require_scope`: a credential limited to other scopes is refused."""

    def __init__(self, scope: str) -> None:
        if scope.split() != [scope]:
            raise ValueError(f"{scope!r} is not one scope, such as notes:read: write require_scope(…) for each")
        self.scopes = frozenset([scope])


def require_scope(scope: str) -> Any:
    """This route requires a permission, named `resource:action`. It stands in `dependencies=[…]`."""
    return declared(RequireScope(scope))


def declared(requirement: Requirement) -> Any:
    """A requirement as a dependency. Raises: InsecureApp in a request, where nothing would check it any more."""
    if current.get() is not None:
        raise InsecureApp("require_scope(…) and require_role(…) check nothing in a function: write dependencies=[…]")
    return Depends(requirement)


class _Public(Declaration):
    async def __call__(self) -> None: ...

    def declare(self, policy: Policy) -> None:
        policy.public = True


public: params.Depends = Depends(_Public())
"""This route opts out of authentication. It stands in `dependencies=[…]`."""


class Access:
    """Refuses what does not meet the policy of its route: the body of an unauthenticated request is never read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.overridable = not in_production()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        context = context_in(scope)
        try:
            policy = await self._admit(scope)
        except (Problem, RequestValidationError) as error:
            return await self._refuse(error, scope, receive, send)
        if context.method == "HEAD" and "HEAD" not in policy.methods and policy.methods:
            scope, send = {**scope, "method": "GET"}, _without_body(send)

        def check_route(message: Message) -> None:
            """Routing must have chosen the route whose policy was enforced. Raises: InsecureApp."""
            endpoint = scope.get("endpoint", policy.endpoint)  # absent where a middleware of the owner's responded
            if policy.endpoint is not None and endpoint is not policy.endpoint and message.get("status", 200) < 400:
                raise InsecureApp(f"{policy.name} was answered by another route, which was added after the start")

        context.on_start.append(check_route)
        await self.app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Policy:
        """Raises: Problem 401, 403, 404 or 405, RequestValidationError."""
        context = context_in(scope)
        policy = context.policy
        if policy is None:
            methods = [] if scope["type"] == "websocket" else context.policies.methods(context.path)
            raise Problem(405, headers={"Allow": ", ".join(methods)}) if methods else Problem(404)
        # Overridden dependencies, as in tests, are called by FastAPI alone.
        overrides = self.overridable and context.app.dependency_overrides
        if overrides and Caller in overrides:
            raise InsecureApp("dependency_overrides[Caller] has no effect: in tests call with as_caller(scope=…)")
        if policy.requirements and not overrides:
            connection = HTTPConnection(scope)
            for requirement in policy.requirements:
                await requirement.check(connection)
        if b"&" in scope["query_string"]:
            _check_query(policy, scope)
        return policy

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with the app's exception handlers: an owner's own for 404, for example."""

        async def refused(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        handlers = ExceptionMiddleware(refused, handlers=context_in(scope).app.exception_handlers)
        await handlers(scope, receive, send)


def _without_body(send: Send) -> Send:
    """End a response with its headers, an endless stream too (HEAD: RFC 9110 section 9.3.2)."""

    async def headers_alone(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})
        else:
            await asyncio.sleep(0)  # a stream that never waits would keep this process to itself

    return headers_alone


def _check_query(policy: Policy, scope: Scope) -> None:
    """Raises: RequestValidationError where a parameter is repeated: two parsers may differ (ASVS 5.0 V15.3.7)."""
    sent = Counter(name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    repeated = sorted(name for name in policy.single_parameters if sent[name] > 1)
    if repeated:
        raise RequestValidationError(
            [{"type": "repeated", "loc": ("query", one), "msg": "is repeated"} for one in repeated]
        )
