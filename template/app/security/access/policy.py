"""One policy for each route, read from its dependencies. A path without a policy is not served.

A route that neither requires authentication nor is declared public fails the start-up (ASVS 5.0 V8.2.1, OWASP
API5:2023). Features add their own checks and hooks here, so that none of them is named by another.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from inspect import isasyncgenfunction, isclass, iscoroutinefunction, isfunction, isroutine, unwrap
from typing import Annotated, Any, get_origin

from fastapi import APIRouter, FastAPI, params
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount, Route, Router, WebSocketRoute, compile_path

JSON = ("application/json",)
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
MADE_BY_CALLS = ("require_scope", "require_role")  # as dependencies they check nothing: what they return does
NO_CALLER = "requires no authentication: add Caller, require_scope(…) or public to it"
UNDECLARED = '{0} takes no dependencies: write secure(app, public=["{0}"]) or guarded={{"{0}": [require_scope("…")]}}'
NEVER_CALLED = "{0} takes no dependencies, so {1} is never called there: call it in the app that is mounted"
NO_OPTIONS = "the app at {0} lacks our limits and serves documents of its own: write FastAPI(…, **fastapi_options())"
UNKNOWN_KIND = "{0}/* ({1}) is a kind of route whose paths cannot be listed: serve it by an app of its own"
WALKABLE = (FastAPI, Starlette, APIRouter, Router)  # a subclass may respond before any of its routes
WEBSOCKET = "WEBSOCKET"  # stands for the method of a WebSocket, which has none
Declared = Mapping[str, Sequence[params.Depends]]


class InsecureApp(Exception):
    """The app is assembled in a way that leaves something unprotected; the message names it."""


class Declaration:
    """A dependency that changes the policy of its route, in `dependencies=[…]` or in the signature."""

    def declare(self, policy: "Policy") -> None:
        raise NotImplementedError


class Requirement(Declaration):
    """A declaration that may refuse the caller. It is checked before routing, and again as the dependency it is."""

    async def check(self, connection: HTTPConnection) -> Any:
        """Raises: Problem."""
        raise NotImplementedError

    async def __call__(self, connection: HTTPConnection) -> Any:
        return await self.check(connection)


@dataclass(eq=False)
class Policy:
    """What one route, or everything below one mount, requires of its callers and allows them."""

    path: str
    pattern: str  # a regular expression without named groups
    methods: frozenset[str] = frozenset()  # none: all of them
    endpoint: Callable[..., Any] | None = None  # None: anything below a mount
    mistake: str = ""  # why the app does not start, unless the route is guarded or public; "": NO_CALLER
    guarded: bool = False
    public: bool = False
    recent_login: bool = False
    scopes: set[str] = field(default_factory=set)  # all of them are required
    roles: set[frozenset[str]] = field(default_factory=set)  # one of each group is required
    limits: dict[str, Any] = field(default_factory=dict)  # by accepts(…), deadline(…) and FastAPI's own max_body_size
    calls: list[Any] = field(default_factory=list)  # its dependencies, at any depth
    late: list[Any] = field(default_factory=list)  # those whose code after `yield` runs after the response
    requirements: list[Requirement] = field(default_factory=list)
    dependant: Any = None  # FastAPI's own description of the route; read, never changed

    @property
    def name(self) -> str:
        return f"{','.join(sorted(self.methods)) or '*'} {self.path}"

    def apply(self, calls: Iterable[Any]) -> "Policy":
        for call in calls:
            self.calls.append(call)
            if isinstance(call, Declaration):
                call.declare(self)
            # An owner's subclass with a __call__ of its own is called by FastAPI alone.
            if isinstance(call, Requirement) and type(call).__call__ is Requirement.__call__:
                self.requirements.append(call)
        return self

    @cached_property
    def media_types(self) -> tuple[str, ...]:
        """As declared by accepts(…), or else multipart for `File()`, forms for `Form()`, JSON and those of `Body()`."""
        if declared := self.limits.get("media_types"):
            return tuple(declared)
        types = {body.field_info.media_type.lower() for body in _fields(self.dependant, "body_params")}
        if FORMS[1] in types:
            return FORMS[1:]
        return FORMS if FORMS[0] in types else tuple(sorted({*JSON, *types}))

    @cached_property
    def single_parameters(self) -> frozenset[str]:
        """Query parameters that take one value, those of a model in `Query()` among them."""
        found = members(self.dependant, "query_params")
        kinds = {name: [member, *member.get("anyOf", ())] for name, member in found}
        return frozenset(name for name in kinds if all(kind.get("type") != "array" for kind in kinds[name]))

    @cached_property
    def uses_threads(self) -> bool:
        return not all(map(_is_async, [*self.calls, *filter(None, [self.endpoint])]))


class Policies:
    """The policies of an app, in the order in which its routes are tried.

    `app.state.declared` maps the path of what takes no dependencies (a mount, a plain route, `app.frontend`) to those
    that stand in for them. The table is complete when the app starts: a route that is added later has no policy.
    """

    def __init__(self, app: FastAPI) -> None:
        declared: Declared = getattr(app.state, "declared", {})
        self._declared = {path: [one.dependency for one in depends] for path, depends in declared.items()}
        self.all = list(self._walk(app, "", "", ""))
        walked = {policy.path for policy in self.all}
        # `app.frontend` adds no route that can be listed; it is tried after all others, the longest path first.
        frontends = sorted(self._declared.keys() - walked, key=len, reverse=True)
        self.all += [self._mount(path, _pattern(path)) for path in frontends]
        methods = {"HEAD", *(method for policy in self.all for method in policy.methods)}
        self._tables = {method: _Table(self._for(method)) for method in methods}
        self._mounts = _Table(self._for(None))

    def find(self, method: str, path: str) -> Policy | None:
        """The policy of the route that will answer; a WebSocket has the method WEBSOCKET."""
        return self._tables.get(method, self._mounts).find(path)

    def methods(self, path: str) -> list[str]:
        """Every method that some route of this path answers (RFC 9110 section 10.2.1)."""
        return sorted(method for method, table in self._tables.items() if method != WEBSOCKET and table.find(path))

    def scopes(self) -> list[str]:
        """Every scope that a route requires."""
        return sorted({scope for policy in self.all for scope in policy.scopes})

    def problems(self) -> list[str]:
        wrong = [policy for policy in self.all if not policy.guarded and not policy.public]
        found = list(dict.fromkeys(policy.mistake or f"{policy.name} {NO_CALLER}" for policy in wrong))
        for policy in self.all:
            ours = [one for one in policy.calls if isfunction(one) and one.__module__.startswith("app.security.access")]
            uncalled = [one.__name__ for one in ours if one.__name__ in MADE_BY_CALLS]
            classes = [one for one in policy.calls if isclass(one)]  # by FastAPI, and not called
            uncalled += [one.__name__ for one in classes if any("__call__" in vars(base) for base in one.__mro__)]
            found += [f"{policy.name} never calls {name}: write {name}(…) in its place" for name in uncalled]
            others = [one for one in policy.calls if one not in policy.requirements and policy.dependant is None]
            skipped = [one for one in others if isinstance(one, Requirement) or not isinstance(one, Declaration)]
            found += [NEVER_CALLED.format(policy.path, getattr(one, "__name__", type(one).__name__)) for one in skipped]
            if any(get_origin(one) is Annotated for one in policy.calls):  # FastAPI reads its arguments from the query
                found.append(f"{policy.name}: write `caller: Caller` or `db: DbSession` in place of Depends()")
            scoped = [one.call for one in _fields(policy.dependant, "dependencies") if one.own_oauth_scopes]
            if any(isinstance(one, Requirement) for one in scoped):
                found.append(f"{policy.name}: Security(…, scopes=…) checks no scope: write require_scope(…)")
        for policy in (one for one in self.all if one.endpoint is None):
            first = self.find("GET", f"{policy.path.rstrip('/')}/.") or policy
            if policy.guarded and first is not policy:
                found.append(f"{policy.name} is guarded, but {first.name} responds first: mount it before that one")
        return found

    def _for(self, method: str | None) -> list[Policy]:
        """The policies of a method. A route for GET answers HEAD, too, unless its path has one for HEAD."""
        heads = {policy.pattern for policy in self.all if "HEAD" in policy.methods}
        return [
            policy
            for policy in self.all
            if not policy.methods
            or method in policy.methods
            or (method == "HEAD" and "GET" in policy.methods and policy.pattern not in heads)
        ]

    def _walk(self, app: Any, prefix: str, prefix_pattern: str, mount: str) -> Iterator[Policy]:
        """The policies of an app or a router; `mount` is the path of the outermost mount that it stands below."""
        documents = NO_OPTIONS.format(prefix or "/") if getattr(app, "openapi_url", None) else ""
        for context in iter_route_contexts(app.routes):
            route, path = context.original_route, prefix + (context.path or "")
            pattern = prefix_pattern + _pattern(context.path or "")
            if isinstance(route, (APIRoute, APIWebSocketRoute)):
                policy = _policy(context, path, pattern)
                policy.dependant = context.dependant
                policy.limits["max_body_size"] = getattr(context, "max_body_size", None)  # a WebSocket has none
                policy.late = [one.call for one in _tree(context.dependant) if one.scope != "function"]
                yield policy.apply([one.call for one in _tree(context.dependant)][1:])
            elif isinstance(route, Mount) and (type(route.app) not in WALKABLE or (path or "/") in self._declared):
                yield self._mount(path or "/", pattern, mount or path or "/")
            elif isinstance(route, Mount):
                yield from self._walk(route.app, path, pattern, mount or path or "/")
            elif isinstance(route, (Route, WebSocketRoute)):
                mistake = documents or UNDECLARED.format(mount or path)
                yield _policy(context, path, pattern, mistake).apply(self._declared.get(path, ()))
            else:
                mistake = UNKNOWN_KIND.format(path or prefix, type(route).__name__)
                yield Policy(path or prefix, pattern, mistake=mistake)

    def _mount(self, path: str, pattern: str, mount: str = "") -> Policy:
        everything = Policy(path, pattern.rstrip("/") + "(?:/.*)?", mistake=UNDECLARED.format(mount or path))
        return everything.apply(self._declared.get(path, ()))


class _Table:
    """The paths of one method as a single regular expression, whose last group names the first policy that fits."""

    def __init__(self, policies: list[Policy]) -> None:
        self._policies: dict[int | None, Policy] = {}
        group = 1
        for policy in policies:
            self._policies[group] = policy
            group += 1 + re.compile(policy.pattern).groups
        self._paths = re.compile("|".join(f"({policy.pattern})" for policy in policies) or r"(?!)")

    def find(self, path: str) -> Policy | None:
        match = self._paths.fullmatch(path)
        return self._policies[match.lastindex] if match else None


def _policy(context: RouteContext, path: str, pattern: str, mistake: str = "") -> Policy:
    socket = isinstance(context.original_route, WebSocketRoute)
    return Policy(path, pattern, frozenset([WEBSOCKET] if socket else context.methods or ()), context.endpoint, mistake)


def _pattern(path: str) -> str:
    """What routing compares with a path, without the parameters' names: two mounts may use the same one."""
    return re.sub(r"\?P<\w+>", "", compile_path(path)[0].pattern[1:-1]) if path.startswith("/") else ""


def _tree(dependant: Any) -> Iterator[Any]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from _tree(dependency)


def _is_async(call: Any) -> bool:
    function = unwrap(call) if isroutine(call) else type(call).__call__
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def _fields(dependant: Any, kind: str) -> Iterator[Any]:
    for one in _tree(dependant) if dependant is not None else ():
        yield from getattr(one, kind)


def members(dependant: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the schema of each parameter, or of each member where a parameter is a model."""
    for parameter in _fields(dependant, kind):
        schema: dict[str, Any] = {}
        with suppress(PydanticUserError):  # a type that JSON Schema cannot describe
            schema = TypeAdapter(parameter.field_info.annotation).json_schema()
        yield from (schema.get("properties") or {parameter.alias: schema}).items()


LifeHook = Callable[[FastAPI], Awaitable[None]]


@dataclass
class Hooks:
    """What features add to an app: a finding of `checks` fails its start-up."""

    at_start: list[LifeHook] = field(default_factory=list)
    at_end: list[LifeHook] = field(default_factory=list)  # run in the opposite order
    background: list[LifeHook] = field(default_factory=list)  # run until the app ends, and cancelled before `at_end`
    checks: list[Callable[[FastAPI, Policies], list[str]]] = field(default_factory=list)
