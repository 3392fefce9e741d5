"""Our routes stand first, and cost the routes behind them next to nothing."""

import re
from copy import copy
from itertools import count
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette._utils import get_route_path
from starlette.routing import PARAM_REGEX, BaseRoute, Match, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.included_routes import IncludedRoute, unfolded

ANY = "*"  # instead of the first segment of a path: it may be any
ELSEWHERE: tuple[Match, Scope] = (Match.NONE, {})


class OurRoute(APIRoute):
    """Compares the part of its path that never varies before it tries the pattern."""

    def __init__(self, path: str, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        self.fixed = path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if self.fixed in scope["path"] else ELSEWHERE


def path_in(scope: Scope) -> str:
    """The path that routing compares: without what the app lies below (`uvicorn --root-path`, or mounted elsewhere)."""
    root_path = scope["state"]["context"].root_path  # in `scope` it grows with each mount inside
    return get_route_path({**scope, "root_path": root_path}) if root_path else scope["path"]


def our_router(prefix: str, **options: Any) -> APIRouter:
    return APIRouter(prefix=prefix, route_class=OurRoute, **options)


def look_up_by_first_segment(app: FastAPI) -> None:
    """Requests are looked up only among the routes whose paths begin as theirs does, in the same order.

    A table with everything of ours would cost every request of the routes behind it.
    """
    router = app.router
    if any(router._iter_low_priority_routes()):
        return  # of `frontend(…)`, which lie in no table
    routes = [one for route in router.routes for one in unfolded(route)]
    begins = [(route, _first_segments(route)) for route in routes]

    def table(segment: str) -> ASGIApp:
        """This router with the routes alone that may answer a path which begins so."""
        smaller = copy(router)
        smaller.routes = [route for route, first in begins if first & {segment, ANY}]
        return smaller.app

    tables = {segment: table(segment) for segment in set().union(*(first for _, first in begins))}
    whole, elsewhere = router.middleware_stack, table(ANY)

    async def look_up(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("root_path"):
            return await whole(scope, receive, send)
        scope.setdefault("router", router)
        await tables.get(_first_segment(scope["path"]), elsewhere)(scope, receive, send)

    router.middleware_stack = look_up


def _first_segments(route: BaseRoute) -> set[str]:
    """How the paths begin that this route, or an included router, may answer."""
    contexts = [route.context] if isinstance(route, IncludedRoute) else iter_route_contexts([route])
    paths = [context.path for context in contexts]
    return {_first_segment(path or "") for path in paths} or {ANY}


def _first_segment(path: str) -> str:
    segment = path[1:].partition("/")[0]
    return segment if path.startswith("/") and "{" not in segment else ANY


def include_first(app: FastAPI, router: APIRouter) -> None:
    """Put these routes before all others: no later route can stand in front of one, and no override replaces a
    dependency of one.
    """
    app.router.routes[:0] = router.routes


def pattern_of(path: str) -> re.Pattern[str]:
    """What routing compares with a path, but for the names of its parameters."""
    numbers = count()  # for names: what is mounted may name a parameter as the mount does
    return compile_path(PARAM_REGEX.sub(lambda found: f"{{_{next(numbers)}{found[2] or ''}}}", path))[0]
