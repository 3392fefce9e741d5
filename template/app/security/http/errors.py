"""Error responses as RFC 9457 problem documents that leak no internals (ASVS 5.0 V16.5.1), and crash reports.

The catch-all is middleware inside headers and CORS: Starlette responds to an unhandled exception outside of both.
"""

import asyncio
import errno
import json
import logging
import re
import socket
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.security.access.credentials import RequestContext, context_in
from app.security.core.events import Event, OnceAMinute, record
from app.security.core.problems import INTERNAL_ERROR, POLICY_VIOLATION, Problem, document

LONGEST_POINTER = 500
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,32}\Z")  # of an unknown member; a longer one may be a secret
# Kinds of validation errors whose message quotes a piece of the input.
_QUOTES_INPUT = re.compile(
    r"(uuid|url|date_from_datetime)_parsing|(value|assertion|import)_error|json_invalid|union_tag_invalid|zoneinfo_str"
    r"|byte_size_unit"
)
# How the database's driver and the operating system report a server that does not respond.
_UNREACHABLE = (OperationalError, InterfaceError, PoolTimeout, ConnectionError, TimeoutError, socket.gaierror)
# SQLSTATEs: connection, login, rollback, resources, shut-down, disk, not ready, locked, read-only.
_TEMPORARY = re.compile(r"08|28|40|53|57P|58030|55000|55P03|25006")
CONFLICTS = ("23503", "23505", "23P01")  # of a foreign key, a unique or an exclusion constraint
_CONFLICT = re.compile(r"FOREIGN KEY|UNIQUE")  # in the words of SQLite, which has no SQLSTATE
_NOT_OPENED = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMFILE, errno.ENFILE)  # no route, no more open files
ENDED_SESSION = "A DbSession ends with its commit. Before: flush(). After: Database.begin() of app.state.database"
log = logging.getLogger(__name__)


class ErrorResponse(Response):
    """Refuses a request or a handshake; closes a WebSocket that is open, or whose server can send no response to it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = scope.get("extensions") or ()
        respondable = "websocket.http.response" in extensions and not scope["state"]["context"].status
        if scope["type"] == "websocket" and not respondable:
            code = POLICY_VIOLATION if self.status_code < 500 else INTERNAL_ERROR
            return await send({"type": "websocket.close", "code": code})
        await super().__call__(scope, receive, send)


def respond(problem: Problem, request_id: str) -> Response:
    """The response for a problem: already serialised, so nothing can fail any more."""
    if problem.status_code in (204, 304):
        return ErrorResponse(status_code=problem.status_code, headers=problem.headers)
    body = json.dumps(document(problem, request_id)).encode()
    return ErrorResponse(body, problem.status_code, problem.headers, media_type=problem.media_type)


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    problem = _problem_of(error)
    if problem is not error and error.status_code < 500:  # from 500 on, the detail may hold internals
        if isinstance(error.detail, dict | list | tuple):  # a detail has to be a text (RFC 9457 section 3.1.4)
            problem.members["details"] = jsonable_encoder(error.detail)
        else:
            problem.detail = str(error.detail)
    return respond(problem, context_in(request.scope).request_id)


def _problem_of(error: HTTPException) -> Problem:
    if isinstance(error, Problem):
        return error
    return Problem(error.status_code, headers=dict(error.headers) if error.headers else None)


async def _on_invalid_request(request: Request, error: ValidationException) -> Response:
    context, reported = context_in(request.scope), request.scope["state"]["invalid_requests_reported"]
    reported.record(f"{context.client_ip} {context.route}", Event.INPUT_VALIDATION_FAIL)
    found = [_explain(problem) for problem in error.errors()[:20]]
    if all(problem.get("type") == "json_invalid" for problem in error.errors()):
        return respond(Problem(400, detail="The body is not valid JSON."), context.request_id)
    return respond(Problem(422, detail="The request is not valid.", errors=found), context.request_id)


def _explain(problem: dict[str, Any]) -> dict[str, str]:
    """Where and what, without the input: neither its value nor an odd name of an undeclared member."""
    kind, location = str(problem["type"]), problem["loc"]
    if kind == "extra_forbidden" and not _PLAIN_NAME.match(str(location[-1])):
        location = location[:-1]
    detail = "is not valid" if _QUOTES_INPUT.fullmatch(kind) else str(problem["msg"])
    return {"pointer": f"/{'/'.join(map(str, location))}"[:LONGEST_POINTER], "detail": detail, "code": kind}


class CatchAll:
    """Responds to exceptions that nothing else handled, and logs a crash with its trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:  # nobody is left to respond to
            return
        except WebSocketDisconnect:  # a route that does not catch it has ended with its client
            if scope["type"] == "http":
                raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            context, task = scope["state"]["context"], asyncio.current_task()
            # A route that awaits a cancelled task raises the same exception. AnyIO takes a cancellation back.
            ended = (task is not None and task.cancelling()) or (context.timeout and context.timeout.expired())
            if isinstance(error, asyncio.CancelledError) and ended:
                raise
            problem = _problem_of(error) if isinstance(error, HTTPException) else report(error, context)
            if context.answered_after:  # by a mounted app, or a background task failed: the connection can go on
                return
            if context.status and scope["type"] == "http":  # half a response must never look complete
                raise
            await respond(problem, context.request_id)(scope, receive, send)


def report(error: BaseException, context: RequestContext) -> Problem:
    """Log an unexpected exception, and return its response. A refused value or a lost race is in the access log."""
    if isinstance(error, InvalidRequestError) and "closed" in str(error):
        error.add_note(ENDED_SESSION)
    problem = _problem_for(error)
    if problem.status_code == 500 or (context.answered_after and context.status < 400):  # or a background task
        log.error("unhandled exception, request %s", context.request_id, exc_info=error)
        record(Event.CRASH, outcome="failure", reason=type(error).__name__)
    elif problem.status_code > 500:
        log.error("not served: %s %s, request %s", type(error).__name__, code_of(error), context.request_id)
    else:
        context.reason = code_of(error) or type(error).__name__
    return problem


def _problem_for(error: BaseException) -> Problem:
    code = code_of(error)
    if code == "57014":  # query_canceled
        return Problem(504, detail="The database took too long.")
    cause = getattr(error, "orig", None) or error  # a moment outside of the calendar is refused before the driver
    is_outside = isinstance(cause, OverflowError) and (cause is not error or "SQLite INTEGER" in str(cause))
    if code.startswith("22") or is_outside:  # a data exception, such as a NUL in a text
        return Problem(422, detail="The request holds a value that cannot be stored.")
    if isinstance(error, StaleDataError):
        return Problem(409, detail="It was changed or removed at the same time.")
    if code in CONFLICTS or (isinstance(error, IntegrityError) and _CONFLICT.search(str(error.orig))):
        return Problem(409, detail="It exists already, refers to what was removed, or is referred to.")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    temporary = _TEMPORARY.match(code) or getattr(error, "errno", None) in _NOT_OPENED
    if lost or temporary or (isinstance(error, _UNREACHABLE) and code != "SQLITE_ERROR"):  # such as: no such table
        return Problem(503, detail="The service is busy; try again.", headers={"Retry-After": "1"})
    return Problem(500, detail="Unexpected error. The log has details under this request's id.")


def code_of(error: BaseException) -> str:
    """The SQLSTATE, or SQLite's name of the error; while connecting, SQLAlchemy does not wrap the driver's errors."""
    cause = getattr(error, "orig", None) or error
    return str(getattr(cause, "sqlstate", getattr(cause, "sqlite_errorname", "")))


def handle(app: Starlette) -> None:
    """Give this app our form of errors."""
    app.add_exception_handler(HTTPException, _on_http_exception)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _on_invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(WebSocketRequestValidationError, _on_invalid_request)  # type: ignore[arg-type]


def handle_mounted(app: Starlette) -> None:
    """The same for a mounted app, whose own last handler would respond to a crash."""
    handle(app)

    async def on_crash(request: Request, error: Exception) -> Response:
        return respond(_problem_for(error), context_in(request.scope).request_id)

    app.add_exception_handler(Exception, on_crash)


def install(app: FastAPI) -> None:
    app.state.invalid_requests_reported = OnceAMinute()
    handle(app)
    app.add_middleware(CatchAll)
