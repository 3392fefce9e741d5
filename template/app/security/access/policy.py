"""Who may call what: one policy for each route, read from its dependencies. Deny by default.

The walk fails closed: a route that neither asks who is calling nor is declared public, and every kind of route whose
dependencies cannot be seen, is a problem that stops the start (ASVS 5.0 V8.2.1, OWASP API5:2023).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute, RouteContext, iter_route_contexts
from starlette.applications import Starlette
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.types import Scope

from app.security.access.routing import OurRoute, path_in, pattern_of
from app.security.admission.known_names import names_of, single_in

HANDLING = {"handle", "matches", "__call__", "get_route_handler"}  # a route that replaces one may skip dependencies


class InsecureApp(RuntimeError):
    """The app is assembled in a way that leaves something unprotected; the message names it."""


@dataclass(eq=False)
class Policy:
    """What is declared on one route. `scopes` and `roles` are those that a caller must have."""

    path: str
    methods: frozenset[str] = frozenset()
    endpoint: Callable[..., Any] | None = None
    pattern: re.Pattern[str] | None = None
    guarded: bool = False
    public: bool = False
    fresh_login: bool = False  # the caller has proved only just who they are, which no program ever does
    takes_dependencies: bool = False
    scopes: set[str] = field(default_factory=set)
    roles: set[frozenset[str]] = field(default_factory=set)  # of each group one
    calls: list[Any] = field(default_factory=list)  # its dependencies
    limits: dict[str, Any] = field(default_factory=dict)  # what the request guard was asked to allow here
    dependant: Dependant | None = None
    mistake: str = "asks for no caller: add Caller, require_scope(…) or public to it"  # unless guarded or public

    @property
    def name(self) -> str:
        return f"{','.join(sorted(self.methods)) or '*'} {self.path}"

    @cached_property
    def known_names(self) -> frozenset[str]:
        return names_of(self.dependant)

    @cached_property
    def single(self) -> frozenset[str]:
        """Query parameters that may stand once."""
        return single_in(self.dependant)


class Declaration:
    """A dependency that says something about its route; it stands in `dependencies=[…]` or in the signature."""

    asks_nothing = False  # it only says something, and refuses nobody

    def declare(self, policy: Policy) -> None:
        raise NotImplementedError


class Policies:
    """The policy of every route of an app, found by the endpoint that routing chose."""

    def __init__(self, app: FastAPI, public: Iterable[str] = ()) -> None:
        self.public_paths = set(public)
        self.all = list(_walk(app.router, "", self.public_paths))
        self.exceptions: dict[str, list[Policy]] = {}  # by method: routes that were allowed more than the rest
        for policy in self.all:
            if policy.limits.get("max_body_size") == app.router.max_body_size:
                policy.limits.pop("max_body_size", None)
            for method in policy.methods if policy.limits else ():
                self.exceptions.setdefault(method, []).append(policy)
        self._by_endpoint: dict[int, list[Policy]] = {}  # by its id: what is mounted may be no key of a mapping
        for policy in self.all:
            policy.public |= not policy.takes_dependencies and policy.path in self.public_paths
            if policy.endpoint:
                self._by_endpoint.setdefault(id(policy.endpoint), []).append(policy)

    def of(self, scope: Scope) -> Policy | None:
        """The policy of the route that is answering, or None where none is known (then nothing is granted)."""
        found = self._by_endpoint.get(id(scope.get("endpoint")), ())
        if len(found) == 1:
            return found[0]
        return first_fitting(found, scope)

    def scopes(self) -> list[str]:
        """Every scope that a route asks for."""
        return sorted({scope for policy in self.all for scope in policy.scopes})

    def problems(self) -> list[str]:
        paths = {policy.path for policy in self.all}
        return [
            f"{policy.name} {policy.mistake}" for policy in self.all if not policy.guarded and not policy.public
        ] + [f'public=["{path}"] names no route of this app' for path in sorted(self.public_paths - paths)]


def first_fitting(policies: Iterable[Policy], scope: Scope) -> Policy | None:
    """The policy of the first of these routes that would answer, as routing will choose it."""
    path, method = path_in(scope), scope.get("method", "WEBSOCKET")
    for policy in policies:
        if method in policy.methods and policy.pattern and policy.pattern.match(path):
            return policy
    return None


def _walk(router: Router, prefix: str, public: set[str]) -> Iterator[Policy]:
    if router.default != router.not_found:
        yield Policy(f"{prefix}/* (a replaced router.default)")
    for context in iter_route_contexts(router.routes):
        yield from _policies(context, prefix, public)
    if isinstance(router, APIRouter):
        yield from _frontends(router, prefix)


def _policies(context: RouteContext, prefix: str, public: set[str]) -> Iterator[Policy]:
    route, path = context.original_route, prefix + (context.path or "")
    replaced = _replaced(route)
    if isinstance(route, (APIRoute, APIWebSocketRoute)) and not replaced:
        declared = _declared(context.dependant, path, context)
        declared.takes_dependencies = True
        yield declared
    elif isinstance(route, Mount):
        yield from _mounted(route, path, public)
    elif isinstance(route, Host):
        yield from _mounted(route, f"{prefix}//{route.host}", public)
    elif type(route) in (Route, WebSocketRoute):
        yield Policy(path, frozenset(context.methods or ()), context.endpoint, pattern_of(path))
    else:
        skipping = f"replaces {', '.join(replaced)}, which may skip dependencies: use a dependency or a layer instead"
        yield Policy(f"{path or prefix}/* ({type(route).__name__})", mistake=skipping if replaced else Policy.mistake)


def _replaced(route: BaseRoute) -> list[str]:
    """What a route of FastAPI handles in a way of its own."""
    known = next((kind for kind in (OurRoute, APIRoute, APIWebSocketRoute) if isinstance(route, kind)), None)
    own = {name for name in HANDLING if getattr(type(route), name, None) is not getattr(known, name, None)}
    return sorted(own | HANDLING & vars(route).keys()) if known else []


def _mounted(route: Mount | Host, path: str, public: set[str]) -> Iterator[Policy]:
    app: Any = getattr(route, "_base_app", route.app)
    router = app.router if type(app) in (FastAPI, Starlette) else app
    if path not in public and type(router) in (APIRouter, Router) and not _has_layers(route, app):
        yield from _walk(router, path, public)
    else:  # declared public as a whole, or nothing that can be looked into
        yield Policy(path)


def _has_layers(route: Mount | Host, app: object) -> bool:
    """Whether a mount has layers of its own, which may answer before any route is asked."""
    outermost: Any = route.app
    while type(outermost) is RequestBodyLimitMiddleware:
        outermost = outermost.app
    return outermost is not app


def _frontends(router: APIRouter, prefix: str) -> Iterator[Policy]:
    # FastAPI's public walker does not list what `frontend(…)` serves, and yet it is served.
    for group in router._iter_low_priority_routes():
        original = getattr(group, "original_route", group)
        base = prefix + getattr(group, "frontend_prefix", "")
        for route in getattr(original, "routes", [original]):
            path = (base + getattr(route, "path", "/*")).rstrip("/") or "/"
            yield _declared(getattr(group, "dependant", None), path, None)


def _declared(dependant: Dependant | None, path: str, context: RouteContext | None) -> Policy:
    policy = Policy(path)
    if context is not None:
        methods = getattr(context, "methods", None) or ({"WEBSOCKET"} if context.endpoint else ())
        policy = Policy(path, frozenset(methods), context.endpoint, pattern_of(path))
        size = getattr(context._effective_route, "max_body_size", None)
        policy.limits = {} if size is None else {"max_body_size": size}
    policy.dependant, policy.calls = dependant, list(_calls(dependant))
    for call in policy.calls:
        if isinstance(call, Declaration):
            call.declare(policy)
    return policy


def _calls(dependant: Dependant | None) -> Iterator[Any]:
    for dependency in dependant.dependencies if dependant else ():
        yield dependency.call
        yield from _calls(dependency)
