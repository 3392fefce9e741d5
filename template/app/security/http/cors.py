"""CORS: the web pages that may call, by their origins (ASVS 5.0 V3.4.2, V3.5.2). Never with cookies, never a wildcard.

The middleware is outside of everything that refuses, so that an allowed page can read a refusal. Development adds the
front ends of this machine, at any port. A page may send the headers that routes read with `Header()`, and those of
REQUEST_HEADERS and CORS_ALLOW_HEADERS.
"""

import re
from urllib.parse import urlsplit

from fastapi import FastAPI
from pydantic import field_validator
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.credentials import context_in
from app.security.access.policy import Policies, members
from app.security.core import events
from app.security.core.events import Event, OnceAMinute
from app.security.core.problems import Problem
from app.security.core.settings import CommaSeparated, SecuritySettings, ServiceSettings, in_production
from app.security.http import errors

ORIGINS = [
    # {% for origin in origins %}
    "{{= origin }}",
    # {% endfor %}
]
TRACE_HEADERS = ("baggage", "traceparent", "tracestate")  # W3C Trace Context and Baggage
REQUEST_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID", *TRACE_HEADERS)
EXPOSED_HEADERS = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "Location")
LONGEST_ASKED = 4096  # bytes of Access-Control-Request-Headers: Starlette compares each name
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_ORIGIN = re.compile(rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::(?:{_PORT}))?\Z")
_LOCAL = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?\Z")


class WithLocalOrigins(tuple[str, ...]):
    """Those of development: the named ones, and every front end of this machine."""

    def __contains__(self, origin: object) -> bool:
        return super().__contains__(origin) or bool(_LOCAL.match(str(origin)))


class CorsSettings(SecuritySettings, env_ignore_empty=False):  # empty allows no page
    cors_origins: CommaSeparated = ORIGINS
    cors_allow_headers: CommaSeparated = []  # which pages may send, beside REQUEST_HEADERS and those of the routes
    cors_expose_headers: CommaSeparated = []  # which pages may read, beside EXPOSED_HEADERS

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        if not all(map(_ORIGIN.match, value)):
            raise ValueError("write origins such as https://app.example.com: no path, no wildcard, lower case")
        return value

    @field_validator("cors_allow_headers", "cors_expose_headers")
    @classmethod
    def _are_headers(cls, value: list[str]) -> list[str]:
        if not all(map(_HEADER.match, value)):
            raise ValueError("write names of headers such as X-Tenant: no wildcard")
        return value

    def weaknesses(self) -> list[str]:
        plain = any(not origin.startswith("https://") for origin in self.cors_origins)
        return ["CORS_ORIGINS: every origin must start with https://"] if plain else []

    def allowed(self) -> tuple[str, ...]:
        """The origins of this environment."""
        return (tuple if in_production() else WithLocalOrigins)(self.cors_origins)


def _vary(message: Message) -> None:
    message["headers"] = [*message.get("headers", ()), (b"vary", b"Origin")]


class Cors(CORSMiddleware):
    """Starlette's middleware, with problem documents and an event for a refused origin."""

    def __init__(self, app: ASGIApp, settings: CorsSettings, methods: list[str], headers: set[str]) -> None:
        self.request_headers = [*REQUEST_HEADERS, *sorted({*headers, *settings.cors_allow_headers})]
        super().__init__(
            app,
            allow_origins=settings.allowed(),
            allow_methods=methods,
            allow_headers=self.request_headers,
            allow_credentials=False,
            expose_headers=[*EXPOSED_HEADERS, *settings.cors_expose_headers],
        )
        self.reported = OnceAMinute()
        own = urlsplit(ServiceSettings.current().public_base_url)
        self.own = f"{own.scheme}://{own.netloc}"  # browsers send Origin with each POST of a page of the service, too

    def is_allowed_origin(self, origin: str) -> bool:
        allowed = super().is_allowed_origin(origin)
        if not allowed and origin != self.own:
            shown = origin if len(origin) <= 200 and _ORIGIN.match(origin) else "invalid"
            self.reported.record(shown, Event.MALICIOUS_CORS, subject=shown)
        return allowed

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        if "origin" in request_headers:
            return await super().simple_response(scope, receive, send, request_headers)

        context_in(scope).on_start.append(_vary)
        await self.app(scope, receive, send)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        if message["type"] == "http.response.start":  # an app may send the same one each time
            message = {**message, "headers": [*message.get("headers", ())]}
        await super().send(message, send, request_headers)

    def preflight_response(self, request_headers: Headers) -> Response:
        context = events.current.get()
        request_id = context.request_id if context else ""
        if len(request_headers.get("access-control-request-headers", "")) > LONGEST_ASKED:
            return errors.respond(Problem(431), request_id)
        response = super().preflight_response(request_headers)
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        # Starlette adds the headers that browsers send without asking.
        headers["access-control-allow-headers"] = ", ".join(self.request_headers)
        if response.status_code == 200:
            return Response(status_code=204, headers=headers)
        return errors.respond(Problem(400, detail=self._refusal(request_headers), headers=headers), request_id)

    def _refusal(self, asked: Headers) -> str:
        sent = asked.get("access-control-request-headers", "").lower().replace(" ", "").split(",")
        refused = [name for name in sent if name not in self.allow_headers and _HEADER.match(name)]
        if refused and super().is_allowed_origin(asked["origin"]):
            return f"No page may send the header {refused[0]} (CORS_ALLOW_HEADERS)."
        return "No page of this origin may send such a request."


def install(app: FastAPI) -> None:
    policies, settings = Policies(app).all, CorsSettings.current()
    methods = {"HEAD", *(method for policy in policies for method in policy.methods)} - {"WEBSOCKET"}
    read = [name for policy in policies for name, _ in members(policy.dependant, "header_params")]
    headers = {name.replace("_", "-") for name in read}
    app.state.cors_origins = settings.allowed()
    app.add_middleware(Cors, settings=settings, methods=sorted(methods), headers=headers)
