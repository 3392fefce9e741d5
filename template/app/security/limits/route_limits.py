"""`@limiter.limit("5/minute")`: rate limits of single routes, with the parameters of slowapi.

slowapi parses the limits. A dependency that replaces the parameter `request` counts them, after the caller is verified
and before the route runs. A limit that would be off fails at start-up.
"""

import inspect
from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Request
from slowapi import extension
from slowapi.wrappers import LimitGroup

from app.security.access.credentials import context_in
from app.security.access.policy import Declaration, Policies, Policy
from app.security.http.client_address import client_prefix

Function = Callable[..., Any]
OPTIONS = ("per_method", "methods", "error_message", "exempt_when", "override_defaults")  # of slowapi


def caller_key(request: Request) -> str:
    """The account of the caller, or else the client address."""
    context = context_in(request.scope)
    return context.principal.actor if context.principal else client_prefix(context.client_ip)


class RouteLimit(Declaration):
    """Dependency that counts the requests of one route against each of its limits."""

    def __init__(self, route: str) -> None:
        self.route = route
        self.groups: list[tuple[LimitGroup, bool]] = []
        self.limits: tuple[str, ...] = ()

    def declare(self, policy: Policy) -> None:
        policy.limits["rate limit"] = self.limits

    async def __call__(self, request: Request) -> Request:
        context, limits, method = context_in(request.scope), request.state.rate_limits, request.method.lower()
        for group, critical in self.groups:
            for limit in list(group.with_request(request)):  # type: ignore[no-untyped-call]
                if limit.is_exempt(request) or method not in (limit.methods or [method]):
                    continue
                caller = _value(limit.key_func, request)
                counted = (caller, limit.scope or self.route, method if limit.per_method else "")
                cost = _value(limit.cost, request)
                await limits.count_route(context, counted, limit.limit, cost, critical=critical)
        return request


def _value(given: Any, request: Request) -> Any:
    """slowapi accepts values, and functions with or without a request."""
    if not callable(given):
        return given
    return given(request) if "request" in inspect.signature(given).parameters else given()


class RouteLimiter:
    """The decorators of slowapi's `Limiter`. A `critical` limit responds 503 while Redis is unavailable."""

    def limit(self, limit_value: str | Function, key_func: Function = caller_key, **options: Any) -> Function:
        """Limit one route. Raises: ValueError for an invalid limit, TypeError for a function without `request`."""
        return self.shared_limit(limit_value, None, key_func, **options)

    def shared_limit(
        self,
        limit_value: str | Function,
        scope: str | None,
        key_func: Function = caller_key,
        *,
        critical: bool = False,
        **options: Any,
    ) -> Function:
        """Limit all routes of this scope together. Raises: as `limit`."""
        group = LimitGroup(limit_value, key_func, scope, **{**dict.fromkeys(OPTIONS), "cost": 1, **options})
        if isinstance(limit_value, str):
            try:
                list(group)  # parses it
            except ValueError:
                raise ValueError(f'@limiter.limit("{limit_value}"): write a limit such as 5/minute') from None

        def decorate(function: Function) -> Function:
            route_limit = _route_limit(function)
            route_limit.groups.append((group, critical))
            route_limit.limits += (limit_value if isinstance(limit_value, str) else limit_value.__name__,)
            return function

        return decorate


limiter = RouteLimiter()


def _route_limit(function: Any) -> RouteLimit:
    """The dependency that counts for this function. Raises: TypeError for a function without `request`."""
    if not hasattr(function, "route_limit"):
        signature = inspect.signature(function)
        parameters = dict(signature.parameters)
        if parameters.pop("request", None) is None:
            raise TypeError(f"@limiter.limit on {function.__qualname__} needs its request: add request: Request")
        function.route_limit = RouteLimit(f"{function.__module__}.{function.__qualname__}")
        # First, so that it counts what another dependency refuses, such as guesses; keyword-only allows any order.
        keyword = inspect.Parameter.KEYWORD_ONLY
        counted = inspect.Parameter("request", keyword, default=Depends(function.route_limit))
        bound = [parameters.pop(name) for name in ("self",) if name in parameters]
        others = [parameter.replace(kind=keyword) for parameter in parameters.values()]
        function.__signature__ = signature.replace(parameters=[*bound, counted, *others])
    return function.route_limit  # type: ignore[no-any-return]


def ineffective(app: FastAPI, policies: Policies) -> list[str]:
    """Limits that an owner wrote and that would be off, or would count apart from Redis and from accounts."""
    reasons = [
        f"{getattr(layer.cls, '__name__', layer.cls)} skips included routers: use @limiter.limit on routes"
        for layer in app.user_middleware
        if str(getattr(layer.cls, "__module__", "")).startswith("slowapi")
    ]
    for policy in policies.all:
        if getattr(policy.endpoint, "route_limit", None) not in (None, *policy.calls):
            reasons.append(f"{policy.name}: @limiter.limit has no effect: put it directly above the function")
        if any(map(_is_foreign, (policy.endpoint, *policy.calls))):
            reasons.append(f"{policy.name}: another Limiter: import limiter from app.security.rate_limits")
    return reasons


def _is_foreign(function: Any) -> bool:
    """Whether a decorator of slowapi's own `Limiter` wraps this function."""
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    return file == extension.__file__ or (hasattr(function, "__wrapped__") and _is_foreign(function.__wrapped__))
