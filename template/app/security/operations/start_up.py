"""Whether the app may serve, and whether it can: start-up checks and health routes.

The checks run when the app starts, or at the first request where it did not. An app that leaves something unprotected
does not serve: the check names it and every request is refused.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from inspect import isclass
from itertools import islice
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from sqlalchemy import ExceptionContext, event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Match, Mount, Route, Router, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import database
from app.database import Database
from app.security.access.credentials import context_in
from app.security.access.identity import public
from app.security.access.policy import NO_OPTIONS, WEBSOCKET, Declared, InsecureApp, Policies
from app.security.conflicts import conflicts, project_files
from app.security.core import events, logs
from app.security.core.events import Event
from app.security.core.problems import Problem
from app.security.core.settings import ROOT, in_production
from app.security.http import errors

log = logging.getLogger(__name__)
MOST_FILES = 5000  # in which a start in development looks for conflicts
CACHED_SECONDS = 1.0  # the readiness
UNWRITABLE_SECONDS = 30  # after a write that failed so, without readiness
# How PostgreSQL (SQLSTATE) and SQLite report a full or broken disk, and a database that is read-only.
UNWRITABLE = re.compile(r"53100|58030|25006|SQLITE_(FULL|IOERR|READONLY)")
CLOCK_SECONDS = 10  # between the clocks of two machines, as for tokens
CLOCK = "the clock of this machine is {:+.0f} s off the database's, so tokens are refused: synchronise both (NTP)"
PARAMETER = r"{[^}]*}"
WAF_SERVER = "deploy/waf/server.conf"  # written by `manage waf`
STALE_WAF = "the web application firewall has rules of another version and may refuse new routes: deploy deploy/waf"
ANY_ID = "00000000-0000-4000-8000-000000000000"
CORS_ANSWER = "run `uvx copier update --defaults --data cors_origins=https://app.example.com`"
NOT_STARTED = "events would be lost without lifespan: start without `--lifespan off`, and mount this app nowhere"
HELD_SESSION = "a socket would keep DbSession's connection while it is open: write Database.begin() for each message"
LATE_COMMIT = "Depends(session) commits after the response, which may say 200 and store nothing: declare DbSession"
NOT_SECURED = "app/main.py never calls secure(app), so nothing protects this app: call it last in create_app()"


def check_app(app: FastAPI) -> Policies:
    """The policies of a well assembled app. Raises: InsecureApp, which names everything that is wrong."""
    if "layers" not in app.state:
        raise InsecureApp(NOT_SECURED)
    policies = Policies(app)
    served = [app, *mounted_apps(app)]
    reasons = policies.problems()
    if not app.state.has_options and NO_OPTIONS.format("/") not in reasons:
        reasons.append(NO_OPTIONS.format("/"))
    reasons += [f"{policy.name}: {LATE_COMMIT}" for policy in policies.all if database.session in policy.late]
    sockets = [policy for policy in policies.all if WEBSOCKET in policy.methods]
    reasons += [f"{policy.name}: {HELD_SESSION}" for policy in sockets if database.session in policy.calls]
    for look in app.state.hooks.checks:
        reasons += look(app, policies)
    if app.user_middleware[: len(app.state.layers)] != app.state.layers:
        reasons.append("a layer was added outside the protections: secure(app) comes last")
    layers = [layer for one in served for layer in one.user_middleware if layer not in app.state.layers]
    if any(isclass(layer.cls) and issubclass(layer.cls, CORSMiddleware) for layer in layers):
        set_origins = "set CORS_ORIGINS" if "cors_origins" in app.state else CORS_ANSWER
        reasons.append(f"a CORSMiddleware of your own: remove it and {set_origins}")
    if in_production():
        if any(getattr(one, "dependency_overrides", None) for one in served):
            reasons.append("app.dependency_overrides replaces dependencies in production")
        if any(one.debug for one in served):
            reasons.append("FastAPI(debug=True) shows the code of what fails")
    if reasons:
        raise InsecureApp("\n".join(["This app does not start:", *(f"  - {reason}" for reason in reasons)]))
    return policies


def mounted_apps(app: Starlette | Router) -> list[Starlette]:
    """The apps mounted below this one: they answer their own errors, and should do it in our form."""
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    below = [route.app for route in routes if isinstance(route, Mount) and isinstance(route.app, (Starlette, Router))]
    apps = [one for one in below if isinstance(one, Starlette)]
    return apps + [deeper for one in below for deeper in mounted_apps(one)]


@cache
def _conflicts() -> list[str]:
    """Those that an update left in files that Python does not read."""
    return list(conflicts(islice(project_files(), MOST_FILES)))


class NotSecured:
    """Answers nothing in an app that never becomes secure; `secure(app)` takes it out."""

    def __init__(self, app: ASGIApp) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.failed", "message": NOT_SECURED})
        raise InsecureApp(NOT_SECURED)


class StartUp:
    def __init__(self, app: ASGIApp, shared: FastAPI) -> None:
        self.app = app
        self.shared = shared
        self.policies: Policies | None = None
        self.started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(scope, receive, send)
        try:
            context_in(scope).policies = self.policies or self._check()
            if not self.started and in_production():
                raise InsecureApp(NOT_STARTED)
        except InsecureApp as error:
            log.critical("%s", error)
            status = 503 if self.policies else 500
            problem = Problem(status, detail="This service is misconfigured; its log says how.")
            return await errors.respond(problem, context_in(scope).request_id)(scope, receive, send)
        await self.app(scope, receive, send)

    def _check(self) -> Policies:
        if not self.shared.state.may_serve:
            raise InsecureApp("this app was assembled only to be inspected, with settings too weak to serve with")
        self.policies = self.shared.state.policies = check_app(self.shared)
        return self.policies

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            logs.configure()  # again: the server has set up its own logging by now
            events.configure_sentry()
            for conflict in () if in_production() else _conflicts():
                log.warning("%s: `python3 app/security/conflicts.py` says what to do", conflict)
            self._check()
            for hook in self.shared.state.hooks.at_start:
                await hook(self.shared)
        except BaseException as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        tasks = [asyncio.ensure_future(work(self.shared)) for work in self.shared.state.hooks.background]
        await self.shared.state.readiness.check()  # names a clock that is off, where nothing asks for readiness
        self.started = True
        events.record(Event.STARTUP)

        async def ended(message: Message) -> None:
            """Run the hooks before the last message: the server ends with it, and cancels what still runs."""
            if message["type"] != "lifespan.startup.complete":
                events.record(Event.SHUTDOWN)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for hook in reversed(self.shared.state.hooks.at_end):
                    try:
                        await hook(self.shared)
                    except Exception:  # the others must run: they write what waits for the audit log
                        log.exception("a hook at the end failed")
            await send(message)

        await self.app(scope, receive, ended)


def install(app: FastAPI, declared: Declared) -> None:
    app.state.declared = dict(declared)
    mark: Any = NotSecured
    app.state.has_options = any(layer.cls is mark for layer in app.user_middleware)
    for served in (app, *mounted_apps(app)):
        served.user_middleware[:] = [layer for layer in served.user_middleware if layer.cls is not mark]
        served.router.redirect_slashes = False  # to an address made of the Host header
        if served is not app:
            errors.handle_mounted(served)
    app.add_middleware(StartUp, shared=app)


def place_ours(app: FastAPI, first: int) -> None:
    """Move our routes, `app.routes[first:]`, ahead of the first of yours that answers one: `/{page:path}`."""
    yours, ours = app.routes[:first], app.routes[first:]
    app.state.replaced = [*_replaced(yours, [route for route in ours if isinstance(route, Route)])]
    for route in app.state.replaced:
        log.warning("%s", route)
    paths = [re.sub(PARAMETER, ANY_ID, str(getattr(route, "path", ""))) for route in ours]
    requests: list[Scope] = [{"type": "http", "method": "GET", "path": path, "headers": []} for path in paths]
    hides = [any(route.matches({**one})[0] is not Match.NONE for one in requests) for route in yours]
    place = hides.index(True) if True in hides else first
    app.routes[:] = yours[:place] + ours + yours[place:]


def _replaced(yours: Sequence[BaseRoute], ours: Sequence[Route]) -> Iterator[str]:
    """The routes of yours with the method and path of one of ours, which an update may have added."""
    for context in iter_route_contexts(yours):
        path, methods = context.path or "", (context.methods or set()) - {"HEAD"}
        for route in ours:
            sample = re.sub(PARAMETER, ANY_ID, route.path)
            same = sample == re.sub(PARAMETER, ANY_ID, path) and compile_path(path)[0].match(sample)
            if same and methods & (route.methods or set()):
                yield f"the template answers {'/'.join(methods)} {path}: give your route another path"


# Health: liveness and readiness, without any detail (ASVS 5.0 V13.4.5).

router = APIRouter(prefix="/health", tags=["health"], dependencies=[public])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness:
    """Queries the database at most once a second, and once at a time, for any number of requests."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._checked = -CACHED_SECONDS
        self._ready = False
        self._unwritable_until = 0.0
        self._clock_is_off = False
        self.draining = False
        event.listen(database.engine.sync_engine, "handle_error", self._notice_unwritable)

    def _notice_unwritable(self, context: ExceptionContext) -> None:
        """Name a full disk, and be unready for a while: to try a write each time would cost every probe a commit."""
        code, now = errors.code_of(context.original_exception), time.monotonic()
        if UNWRITABLE.match(code):
            if now > self._unwritable_until:
                log.critical("the database cannot write (%s): its disk is full or broken, or it is read-only", code)
            self._unwritable_until = now + UNWRITABLE_SECONDS

    async def ready(self) -> bool:
        if self.draining:
            return False
        async with self._lock:
            if time.monotonic() - self._checked < CACHED_SECONDS:
                return self._ready
            self._ready = await self.check() and time.monotonic() > self._unwritable_until
            self._checked = time.monotonic()
            return self._ready

    async def check(self) -> bool:
        try:
            async with asyncio.timeout(2), self._database.read() as connection:
                await connection.execute(text("SELECT 1 FROM accounts WHERE 1 = 0"))
                problems = await clock_problems(connection)
        except Exception:  # any error means: not ready
            return False
        for problem in () if self._clock_is_off else problems:
            log.error(problem)
        self._clock_is_off = bool(problems)
        return True


@lru_cache(maxsize=1)
def compare_firewall(deployed: str) -> None:
    """Warn if the web application firewall in front of this process has other rules than this version."""
    if deployed and (ROOT / WAF_SERVER).is_file() and f" {deployed};" not in (ROOT / WAF_SERVER).read_text():
        log.warning(STALE_WAF)


async def clock_problems(connection: AsyncConnection) -> list[str]:
    """A clock that differs from PostgreSQL's; SQLite has none of its own."""
    if connection.dialect.name == "sqlite":
        return []
    theirs: datetime = await connection.scalar(text("SELECT clock_timestamp()"))
    seconds = (datetime.now(UTC) - theirs).total_seconds()
    return [CLOCK.format(seconds)] if abs(seconds) > CLOCK_SECONDS else []


@router.get("/live")
async def live() -> Health:
    return Health()


@router.get("/ready")
async def ready(request: Request) -> Health:
    if request.state.trusted_peer:  # anybody else could write the header
        compare_firewall(request.headers.get("x-waf-rules", ""))
    if not await request.state.readiness.ready():
        raise Problem(503, detail="Not ready.", headers={"Retry-After": "1"})
    return Health()
