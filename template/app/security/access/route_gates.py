"""What a route declares is asked before anything else: who is calling, and what they may. Then JSON is read strictly.

FastAPI parses a body before it solves dependencies, so a stranger's megabyte would be read before the refusal; and to
solve one dependency costs more than to recognise a caller who was here a second ago. Who is calling is asked first
wherever the question stands, within another dependency too. The declarations stay ordinary dependencies: they are
solved as such where dependencies are overridden, as tests do, and with a FastAPI that is built otherwise than this
module knows.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from itertools import takewhile
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import HTTPConnection
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.identity import Authenticate
from app.security.access.policy import Declaration
from app.security.admission.json_bodies import strict
from app.security.admission.threads import followed

PARAMETERS = ("dependencies", "path_params", "query_params", "header_params", "cookie_params", "body_params")
SPECIAL = ("request", "websocket", "response", "background_tasks", "security_scopes")


class Gate:
    """Asks a route's declarations in their order, then lets the route answer."""

    def __init__(self, route: ASGIApp, behind: ASGIApp, asked: list[Dependant], overrides: object) -> None:
        self.route = route  # as FastAPI made it
        self.behind = behind  # the same without what is asked here
        asking = [found for found in asked if not _says_nothing(found)]
        self.asked = [(found.name, found.call, str(found.http_connection_param_name)) for found in asking]
        self.overrides = overrides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if getattr(self.overrides, "dependency_overrides", None):
            return await self.route(scope, receive, send)
        connection = HTTPConnection(scope)
        declared, found = {}, {}
        for name, declaration, parameter in self.asked:
            if declaration not in found:  # as FastAPI, which solves a dependency once a request
                found[declaration] = await declaration(**{parameter: connection})  # type: ignore[misc]
            if name is not None:
                declared[name] = found[declaration]
        scope["state"]["declared"] = declared
        await self.behind(scope, receive, send)


def add_gates(router: Router, *, strictly: bool) -> None:
    """Put a gate before every route of this router, and let each read JSON strictly where it may read any.

    `strictly` says that others may read a body which the route does not.
    """
    for context in iter_route_contexts(router.routes):
        original = context.original_route
        if isinstance(original, APIRoute):
            route: Any = context._effective_route
            if not isinstance(route.app, Gate):
                _add_gate(original, route, strictly)


def _add_gate(original: APIRoute, route: Any, strictly: bool) -> None:
    # Those behind another dependency may rely on it.
    dependencies = route.dependant.dependencies if _is_plain_function(original.endpoint) else []
    first = list(takewhile(_is_asked_first, dependencies))
    who = {found.call: found for found in _asking_who_calls(route.dependant)}
    try:
        from fastapi._body_limit import wrap_app_with_body_limit

        behind = _app(original, route, followed(_without(route.dependant, first)), strictly)
        limited = wrap_app_with_body_limit(behind, route.max_body_size)
    except (AttributeError, ImportError, TypeError):  # another FastAPI
        return
    if _is_as_made(route, behind):
        asked = first + [found for call, found in who.items() if call not in [one.call for one in first]]
        route.app = Gate(route.app, limited, asked, route.dependency_overrides_provider)
    elif who:  # something of an owner's own is around it, which may never ask
        route.app = Gate(route.app, route.app, list(who.values()), route.dependency_overrides_provider)


def _is_as_made(route: Any, made_anew: Any) -> bool:
    """Whether nobody has put something of their own around what FastAPI made."""
    try:
        made = route.app if route.max_body_size is None else route.app.app.app  # within FastAPI's two layers for it
    except AttributeError:
        return False
    return getattr(made, "__code__", None) is made_anew.__code__


def _asking_who_calls(dependant: Dependant) -> Iterator[Dependant]:
    """Our own declarations at any depth: they rely on no other dependency, and keep whom they found."""
    for found in dependant.dependencies:
        yield from _asking_who_calls(found)
        if isinstance(found.call, Authenticate) and _is_ours(found.call) and _is_asked_first(found):
            yield replace(found, name=None)  # whose name is a parameter of that dependency, and none of the endpoint


def _is_ours(call: object) -> bool:
    return isinstance(call, Declaration) and type(call).__call__.__module__.startswith(f"{__package__}.")


def _is_plain_function(endpoint: object) -> bool:
    """Not a stream that FastAPI iterates over, and nothing that it calls in a way of its own."""
    generates = inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint)
    return inspect.isfunction(endpoint) and not generates


def _is_asked_first(dependency: Dependant) -> bool:
    """A declaration that looks at the connection, and needs nothing of the request to be read or solved for it."""
    needs = [getattr(dependency, name) for name in PARAMETERS]
    needs += [getattr(dependency, f"{name}_param_name") for name in SPECIAL]
    takes_connection = dependency.http_connection_param_name is not None or _says_nothing(dependency)
    is_awaited = inspect.iscoroutinefunction(type(dependency.call).__call__)
    return isinstance(dependency.call, Declaration) and is_awaited and takes_connection and not any(needs)


def _says_nothing(dependency: Dependant) -> bool:
    """It only declares, and never refuses."""
    return isinstance(dependency.call, Declaration) and dependency.call.asks_nothing and dependency.name is None


def _without(dependant: Dependant, asked: list[Dependant]) -> Dependant:
    """The same, but for these: what they found reaches the endpoint under their names."""
    names = [dependency.name for dependency in asked if dependency.name is not None]
    rest = [dependency for dependency in dependant.dependencies if dependency not in asked]
    if not names:
        return replace(dependant, dependencies=rest)
    carrier = dependant.http_connection_param_name or names[0]
    call = _handed_over(dependant.call, carrier)
    return replace(dependant, dependencies=rest, call=call, http_connection_param_name=carrier)


def _handed_over(endpoint: Any, carrier: str) -> Callable[..., Any]:
    """The endpoint, called also with what the gate has found; the parameter `carrier` brings the connection."""

    @wraps(endpoint)
    async def call(**values: Any) -> Any:
        return await endpoint(**values | values[carrier].scope["state"]["declared"])

    @wraps(endpoint)
    def call_in_a_thread(**values: Any) -> Any:
        return endpoint(**values | values[carrier].scope["state"]["declared"])

    return call if inspect.iscoroutinefunction(endpoint) else call_in_a_thread


def _app(original: APIRoute, route: Any, dependant: Dependant, strictly: bool) -> Any:
    """The route as FastAPI would make it with these dependencies; `route` is it, or what it is where it is included."""
    from fastapi.routing import _effective_route_context_var, request_response

    whole, route.dependant = route.dependant, dependant
    token = _effective_route_context_var.set(None if route is original else route)
    try:
        handler = original.get_route_handler()
    finally:
        _effective_route_context_var.reset(token)
        route.dependant = whole
    return request_response(strict(handler) if strictly or _may_read(whole, route.body_field) else handler)


def _may_read(dependant: Dependant, body: object) -> bool:
    """Whether FastAPI reads a body for this route, or somebody else might, to whom it hands the request."""
    is_given = dependant.request_param_name or dependant.http_connection_param_name
    if body is not None or (is_given and not _is_ours(dependant.call)):
        return True
    return any(_may_read(dependency, None) for dependency in dependant.dependencies)
