"""Limits of single routes that would be off without a word, or fail, stop the start; doctor names those that block."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from slowapi import Limiter, extension
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.policy import Policies, Policy
from app.security.core.hooks import hooks_of
from app.security.limits.limit_settings import RateLimitSettings
from app.security.limits.route_limits import limiter

Function = Callable[..., Any]


def silently_off(app: FastAPI, policies: Policies) -> list[str]:
    """Every way known in which a limit that somebody wrote would not count, or fail whenever its route is called."""
    reasons = [
        f"{getattr(layer.cls, '__name__', layer.cls)} passes over included routers: use @limiter.limit on routes"
        for layer in app.user_middleware
        if str(getattr(layer.cls, "__module__", "")).startswith("slowapi")
    ]
    if not limiter.enabled:
        reasons.append("limiter.enabled is off: no @limiter.limit counts")
    for name, functions in limiter.decorated().items():
        if len({inspect.unwrap(function) for function in functions}) > 1:
            reasons.append(f"two functions are called {name}: they would share their limits; rename one")
    for name in limiter.exempted() & limiter.decorated().keys():
        reasons.append(f"{name} has a limit and is exempt: take @limiter.exempt away")
    for policy in policies.all:
        found = [*_misplaced(policy.endpoint), *_unmet(policy), *_on_dependencies(policy), *_failing(policy)]
        reasons += [f"{policy.name}: {reason}" for reason in found]
    return reasons


def _misplaced(endpoint: Function | None) -> Iterator[str]:
    if endpoint is None:
        return
    owners = _limiters(endpoint)
    name = f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__name__', '')}"
    if not owners and name in limiter.decorated():
        yield "@limiter.limit stands above the route and does nothing: put it directly above the function"
    if any(owner is not limiter for owner in owners):
        yield "its limit is of another Limiter: import limiter from app.security.rate_limits"


def _unmet(policy: Policy) -> Iterator[str]:
    """A limit that names methods is off for a route that has none of them."""
    methods = {method.upper() for method in policy.methods}
    for only_for in limiter.methods_of(policy.endpoint) if policy.endpoint else ():
        if only_for is not None and methods.isdisjoint(method.upper() for method in only_for):
            yield f"its limit is for {', '.join(only_for)} alone, which this route does not answer"


def _on_dependencies(policy: Policy) -> Iterator[str]:
    """slowapi counts once a request: a limit on a dependency takes the place of the route's own."""
    if any(_limiters(call) for call in policy.calls if callable(call)):
        yield "@limiter.limit stands on one of its dependencies: put it on the route"


def _failing(policy: Policy) -> Iterator[str]:
    """slowapi finds out at each call that FastAPI hands it no request where it looks for one."""
    endpoint, dependant = policy.endpoint, policy.dependant
    if endpoint is None or dependant is None:
        return
    method = endpoint if inspect.isroutine(endpoint) else type(endpoint).__call__
    if not _limiters(method):
        return
    if "WEBSOCKET" in policy.methods:
        yield "@limiter.limit counts no WebSocket: take it away, since RATE_LIMIT counts them"
    elif inspect.ismethod(endpoint) or method is not endpoint:
        yield "@limiter.limit stands on a method: put it on a function"
    elif "request" not in (dependant.request_param_name, dependant.http_connection_param_name):
        yield "@limiter.limit has to see who calls: its parameter request has to be a Request"


def _limiters(endpoint: Function) -> list[Limiter]:
    """Whose limits are wrapped around this function."""
    found = []
    function: Function | None = endpoint
    while function is not None:
        code = getattr(function, "__code__", None)
        if code is not None and code.co_filename == extension.__file__:
            cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
            if "self" in cells:  # and else it is an exemption
                found.append(cells["self"].cell_contents)
        function = getattr(function, "__wrapped__", None)
    return found


async def blocking(db: AsyncSession, policies: Policies) -> list[str]:
    """With Redis, slowapi waits for it where it stands."""
    if RateLimitSettings.current().counts_alone:
        return []
    return [
        f"{policy.name}: @limiter.limit on an async def route holds up every other request while it asks Redis: use def"
        for policy in policies.all
        if policy.endpoint and inspect.iscoroutinefunction(policy.endpoint) and _limiters(policy.endpoint)
    ]


def install(app: FastAPI) -> None:
    hooks_of(app).checks.append(silently_off)
    hooks_of(app).hints.append(blocking)
