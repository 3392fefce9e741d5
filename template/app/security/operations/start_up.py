"""What has to be true before the first answer, checked when the app starts, or by the first request where it never did.

An app that leaves something unprotected does not serve: the check names it and every request is refused.
"""

import logging
from collections.abc import Iterable

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.policy import InsecureApp, Policies
from app.security.access.route_gates import add_gates
from app.security.access.route_tables import choosing_routers, close, mounted_apps
from app.security.access.routing import look_up_by_first_segment
from app.security.admission.json_bodies import may_be_read_late
from app.security.core import events, logs
from app.security.core.events import Event
from app.security.core.hooks import hooks_of
from app.security.core.problems import Problem
from app.security.core.settings import in_production
from app.security.http import errors

log = logging.getLogger(__name__)
NOT_SECURED = "app/main.py never calls secure(app), so nothing protects this app: call it last in create_app()"
FOREIGN_CORS = "a CORSMiddleware beside ours: the answer cors_origins says which pages may call"


def check(app: FastAPI, layers: list[Middleware], public: Iterable[str]) -> Policies:
    """The policies of a well assembled app. Raises: InsecureApp, which names everything that is wrong."""
    found = Policies(app, public)
    reasons = found.problems()
    for look in hooks_of(app).checks:
        reasons += look(app, found)
    if app.user_middleware[: len(layers)] != layers:
        reasons.append("a layer was added outside the protections: secure(app) comes last")
    mounted = [layer for below in mounted_apps(app.router) for layer in below.user_middleware]
    if any(_is_cors(layer) for layer in (*app.user_middleware, *mounted) if layer not in layers):
        reasons.append(FOREIGN_CORS)
    for served in (app, *mounted_apps(app.router)) if in_production() else ():
        if _overrides(served):
            reasons.append("app.dependency_overrides replaces dependencies in production")
        if served.debug:
            reasons.append("FastAPI(debug=True) shows the code of what fails")
    if reasons:
        raise InsecureApp("\n".join(["This app does not start:", *(f"  - {reason}" for reason in reasons)]))
    return found


def check_app(app: FastAPI) -> Policies:
    """The policies of an app that `secure` has protected. Raises: InsecureApp."""
    if "layers" not in app.state:
        raise InsecureApp(NOT_SECURED)
    return check(app, app.state.layers, app.state.public_paths)


def _overrides(app: Starlette) -> object:
    return getattr(app, "dependency_overrides", None)


def _is_cors(layer: Middleware) -> bool:
    return isinstance(layer.cls, type) and issubclass(layer.cls, CORSMiddleware)


def _has_foreign_cors(stack: object) -> bool:
    """Whether a layer of a running app, made by whatever function, lets pages of its own choice read."""
    while stack is not None:
        if isinstance(stack, CORSMiddleware) and not type(stack).__module__.startswith("app.security."):
            return True
        stack = getattr(stack, "app", None)
    return False


class StartUp:
    def __init__(self, app: ASGIApp, shared: FastAPI) -> None:
        self.app = app
        self.shared = shared
        self.production = in_production()
        self.routes: object = None  # the closed route table, once everything was found right
        self.served: list[Starlette] = []  # this app, and those mounted below it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(scope, receive, send)
        try:
            self._ensure()
        except InsecureApp as error:
            log.critical("%s", error)
            problem = Problem(500, detail="This service is not assembled safely; its log says why.")
            return await errors.respond(problem, scope["state"]["context"].request_id)(scope, receive, send)
        scope["state"]["policies"] = self.shared.state.policies
        await self.app(scope, receive, send)

    def _ensure(self) -> None:
        if self.routes is None:
            if not self.shared.state.may_serve:
                raise InsecureApp("this app was put together to be looked at, with settings too weak to serve with")
            self.shared.state.policies = check_app(self.shared)
            if _has_foreign_cors(self.shared.middleware_stack):
                raise InsecureApp(FOREIGN_CORS)
            self.served = [self.shared, *mounted_apps(self.shared.router)]
            for app in self.served[1:]:
                errors.handle_mounted(app)
            close(self.shared.router)
            self.routes = self.shared.router.routes
            strictly = any(map(may_be_read_late, self.served))
            for below in choosing_routers(self.shared.router):
                add_gates(below, strictly=strictly)
                below.redirect_slashes = False  # to an address made of the Host header, which might be http
            look_up_by_first_segment(self.shared)
        router = self.shared.router
        if self.routes is not router.routes or router.default != router.not_found:
            raise InsecureApp("app.router was changed after the start")
        if self.production and any(map(_overrides, self.served)):
            raise InsecureApp("app.dependency_overrides replaces dependencies in production")

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        try:
            logs.configure()  # again: the server has set up its own logging by now
            self._ensure()
            for hook in hooks_of(self.shared).at_start:
                await hook(self.shared)
        except BaseException as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        events.record(Event.STARTUP)
        replayed = [first]

        async def replay() -> Message:
            return replayed.pop() if replayed else await receive()

        try:
            await self.app(scope, replay, send)
        finally:
            events.record(Event.SHUTDOWN)
            for hook in reversed(hooks_of(self.shared).at_end):
                await hook(self.shared)


def install(app: FastAPI, public: Iterable[str]) -> None:
    app.state.public_paths = frozenset(public)
    app.add_middleware(StartUp, shared=app)


def remember_layers(app: FastAPI) -> None:
    """To be called when all our layers are added: whatever comes outside them later is refused."""
    app.state.layers = app.user_middleware[: 1 + max(_our_indexes(app))]


def _our_indexes(app: FastAPI) -> list[int]:
    return [index for index, layer in enumerate(app.user_middleware) if layer.cls.__module__.startswith(__package__)]
