"""Errors as RFC 9457 problem documents: what went wrong for the caller, nothing about us (ASVS 5.0 V16.5.1).

The catch-all is a layer of its own inside headers and CORS: Starlette answers an unhandled exception outside of both.
"""

import asyncio
import json
from itertools import takewhile
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.security.access.policy import Policies
from app.security.access.routing import path_in
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import INTERNAL_ERROR, POLICY_VIOLATION, Problem, document
from app.security.http.crashes import problem_for, tell

DEEPEST_POINTER = 32  # names and indexes in a pointer
PARTS_OF_A_REQUEST = frozenset(("body", "query", "path", "header", "cookie"))
# What pydantic says of these quotes a piece of the input.
_QUOTES_INPUT = (
    "uuid_parsing",
    "json_invalid",
    "value_error",
    "assertion_error",
    "url_parsing",
    "date_from_datetime_parsing",
    "union_tag_invalid",
    "zoneinfo_str",
    "byte_size_unit",
    "import_error",
)


class Refusal(Response):
    """Answers a request or the handshake of a WebSocket; a socket that is open, or whose server sends no answers to
    handshakes, is closed instead.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not _takes_an_answer(scope):
            code = POLICY_VIOLATION if self.status_code < 500 else INTERNAL_ERROR
            return await send({"type": "websocket.close", "code": code})
        await super().__call__(scope, receive, send)


def _takes_an_answer(scope: Scope) -> bool:
    return not scope["state"]["context"].status and "websocket.http.response" in (scope.get("extensions") or ())


def respond(problem: Problem, request_id: str) -> Response:
    """The answer for a problem: bytes made by us alone, so nothing in it can fail to serialise."""
    if problem.status_code in (204, 304):
        return Refusal(status_code=problem.status_code, headers=problem.headers)
    body = json.dumps(document(problem, request_id)).encode()
    return Refusal(body, problem.status_code, problem.headers, media_type=problem.media_type)


def _request_id(request: Request) -> str:
    return request.scope["state"]["context"].request_id  # type: ignore[no-any-return]


async def _on_http_exception(request: Request, error: Exception) -> Response | None:
    error = cast(HTTPException, error)  # how Starlette types its handlers
    problem = _problem_of(error)
    if not isinstance(error, Problem) and error.status_code < 500:
        _say(problem, error.detail)
    if error.status_code == 405 and (methods := _methods(request.scope)):
        problem.headers = {**(problem.headers or {}), "Allow": ", ".join(methods)}
    return respond(problem, _request_id(request))


def _say(problem: Problem, detail: object) -> None:
    """What the owner wrote: `detail` is a text (RFC 9457 section 3.1.4), so a structure is the member `details`."""
    if not isinstance(detail, dict | list | tuple):
        problem.detail = str(detail)
        return
    try:
        problem.members["details"] = json.loads(json.dumps(detail, default=str, allow_nan=False))
    except (TypeError, ValueError, RecursionError):  # a key that is no text, a number that is none, itself inside
        problem.members["details"] = str(detail)


def _methods(scope: Scope) -> list[str]:
    """What every route of this path takes (RFC 9110 section 10.2.1); routing tells of the first alone."""
    policies: Policies = scope["state"]["policies"]
    path = path_in(scope)
    fitting = [policy for policy in policies.all if policy.pattern and policy.pattern.match(path)]
    return sorted({method for policy in fitting for method in policy.methods} - {"WEBSOCKET"})


def _problem_of(error: HTTPException) -> Problem:
    if isinstance(error, Problem):
        return error
    return Problem(error.status_code, headers=dict(error.headers) if error.headers else None)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    error = cast(ValidationException, error)
    context, reported = request.scope["state"]["context"], request.scope["state"]["invalid_requests_reported"]
    reported.record(f"{context.client_ip} {context.route}", Event.INPUT_VALIDATION_FAIL)
    policy = cast(Policies, request.scope["state"]["policies"]).of(request.scope)
    known = PARTS_OF_A_REQUEST | (policy.known_names if policy else frozenset())
    found = [_explain(problem, known) for problem in error.errors()[:20]]
    if all(problem.get("type") == "json_invalid" for problem in error.errors()):
        return respond(Problem(400, detail="The body is not valid JSON."), _request_id(request))
    return respond(Problem(422, detail="The request is not valid.", errors=found), _request_id(request))


def _explain(problem: dict[str, Any], known: frozenset[str]) -> dict[str, str]:
    """Where and what, without the input: not its value, and not the name of a member that we do not know."""
    kind, location = str(problem["type"]), list(problem["loc"][:DEEPEST_POINTER])
    if kind in ("extra_forbidden", "invalid_key"):
        location = location[:-1]
    location = list(takewhile(lambda part: isinstance(part, int) or part in known, location))
    detail = "is not valid" if kind in _QUOTES_INPUT else str(problem["msg"])
    return {"pointer": "/" + "/".join(map(str, location)), "detail": detail, "code": kind}


class CatchAll:
    """Answers what nobody else did, and logs a crash with its trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        try:
            await self.app(scope, receive, send)
        except WebSocketDisconnect:  # a route that lets it pass has ended with its client
            if scope["type"] == "http":
                raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            context = scope["state"]["context"]
            problem = _written_down(error, context.request_id)
            if problem is None:
                raise
            if context.answered:  # by a mounted app: to raise would cost the next request its connection
                return
            if context.status and scope["type"] == "http":  # too late: half an answer must never look whole
                raise
            await respond(problem, context.request_id)(scope, receive, send)


def _written_down(error: BaseException, request_id: str) -> Problem | None:
    """The answer for what nobody caught; None where nothing went wrong here and it has to go on."""
    if isinstance(error, asyncio.CancelledError) and _are_cancelled():
        return None
    if isinstance(error, HTTPException):
        return _problem_of(error)
    problem = problem_for(cast(Exception, error))
    tell(error, problem.status_code, request_id)
    return problem


def _are_cancelled() -> bool:
    """Whether somebody gave up this request; a route that waits for a cancelled task raises the same by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def handle(app: Starlette) -> None:
    """Our form of errors for this app; also for those mounted below it."""
    app.add_exception_handler(HTTPException, _on_http_exception)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(WebSocketRequestValidationError, _on_invalid_request)


def handle_mounted(app: Starlette) -> None:
    """The same for an app below ours, which answers what it did not expect before we see it."""
    handle(app)

    async def on_crash(request: Request, error: Exception) -> Response:
        return respond(problem_for(error), _request_id(request))

    app.add_exception_handler(Exception, on_crash)
    app.middleware_stack = None  # built anew with it


def install(app: FastAPI) -> None:
    app.state.invalid_requests_reported = OnceAMinute()
    handle(app)
    app.add_middleware(CatchAll)
