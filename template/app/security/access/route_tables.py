"""Route tables after the start: closed, so that nothing is served that was not looked at; and what lies below one."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.routing import APIRouter
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Router

from app.security.access.policy import InsecureApp


class _ClosedRoutes(list[Any]):
    """A route table after the start: what is added to it now would be served without having been looked at."""

    def _closed(self, *args: Any, **kwargs: Any) -> Any:
        added = next((getattr(arg, "path", type(arg).__name__) for arg in reversed(args)), "a change")
        raise InsecureApp(f"{added}: routes are added before secure(app), never after the start")

    append = extend = insert = __setitem__ = __iadd__ = __delitem__ = pop = remove = clear = _closed


def close(router: Router) -> None:
    """Refuse every later change of this router's routes, and of those below it."""
    for below in _below(router.routes):
        if isinstance(below, Router):
            close(below)
    router.routes = _ClosedRoutes(router.routes)
    if isinstance(router, APIRouter):
        for group in router._low_priority_routes:
            group.routes = _ClosedRoutes(group.routes)  # type: ignore[attr-defined]
        router._low_priority_routes = _ClosedRoutes(router._low_priority_routes)


def _below(routes: Sequence[BaseRoute]) -> Iterator[object]:
    for route in routes:
        yield getattr(route, "original_router", None)
        if isinstance(route, (Mount, Host)):
            app = getattr(route, "_base_app", route.app)
            yield getattr(app, "router", app)


def mounted_apps(router: Router) -> Iterator[Starlette]:
    """The apps below a router: they answer their own errors, and should do it in our form."""
    return (app for app in _mounted(router) if isinstance(app, Starlette))


def choosing_routers(router: Router) -> Iterator[Router]:
    """This router, and those of whatever is mounted below it; what is included in one belongs to that one."""
    yield router
    for app in _mounted(router):
        found = getattr(app, "router", app)
        if isinstance(found, Router):
            yield found


def _mounted(router: Router) -> Iterator[object]:
    for route in router.routes:
        below = getattr(route, "original_router", None)
        if isinstance(route, (Mount, Host)):
            app = getattr(route, "_base_app", route.app)
            yield app
            below = getattr(app, "router", app)
        if isinstance(below, Router):
            yield from _mounted(below)
