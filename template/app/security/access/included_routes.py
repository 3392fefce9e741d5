"""The routes of included routers, each tried once: FastAPI tries all of them to find the router, then again in it."""

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class IncludedRoute(BaseRoute):
    """A route of an included router, with the path and the dependencies that it has where it is included."""

    def __init__(self, context: Any) -> None:
        self.context = context  # as FastAPI knows it
        self.original: APIRoute = context.original_route
        self.path_format: str = context.path_format

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match: Match
        match, found = self.context.matches(scope)
        if match is not Match.NONE:
            found["route"] = self.original
        return match, found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("fastapi", {})["effective_route_context"] = self.context
        await self.original.handle(scope, receive, send)


def unfolded(route: BaseRoute) -> list[BaseRoute]:
    """In the place of an included router its routes, in their order.

    One that does anything of its own stays whole: other kinds of routes, limits for forms, an owner's own choice.
    """
    try:
        return _routes(route)
    except (AttributeError, ImportError):  # another FastAPI
        return [route]


def _routes(route: Any) -> list[BaseRoute]:
    from fastapi.routing import _EffectiveRouteContext, _IncludedRouter

    if type(route) is not _IncludedRouter or not _is_ordinary(route.original_router):
        return [route]
    candidates = route.effective_candidates()
    contexts = [one for one in candidates if isinstance(one, _EffectiveRouteContext)]
    if route.include_context.form_limits or not all(_is_chosen_as_usual(one.original_route) for one in contexts):
        return [route]
    folded = [[IncludedRoute(one)] if isinstance(one, _EffectiveRouteContext) else _routes(one) for one in candidates]
    return [one for routes in folded for one in routes]


def _is_chosen_as_usual(route: BaseRoute) -> bool:
    return isinstance(route, APIRoute) and type(route).matches is APIRoute.matches


def _is_ordinary(router: APIRouter) -> bool:
    return type(router).matches is APIRouter.matches and type(router).handle is APIRouter.handle
