"""CORS: the web pages that may call, by their origins (ASVS 5.0 V3.4.2, V3.5.2). Never with cookies, never a wildcard.

The middleware is outside of everything that refuses, so that an allowed page can read a refusal. Development adds the
front ends of this machine, at any port.
"""

import re
from urllib.parse import urlsplit

from fastapi import FastAPI
from pydantic import field_validator
from pydantic_settings import SettingsConfigDict
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.policy import Policies
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
REQUEST_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID")
EXPOSED_HEADERS = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "Location")
PREFLIGHT_SECONDS = 600
VARY = (b"vary", b"Origin")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_ORIGIN = re.compile(rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::(?:{_PORT}))?\Z")
_LOCAL = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?\Z")


class WithLocalOrigins(tuple[str, ...]):
    """Those of development: the named ones, and every front end of this machine."""

    def __contains__(self, origin: object) -> bool:
        return super().__contains__(origin) or bool(_LOCAL.match(str(origin)))


class CorsSettings(SecuritySettings):
    model_config = SettingsConfigDict(env_ignore_empty=False)  # empty allows no page

    cors_origins: CommaSeparated = ORIGINS

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if not _ORIGIN.match(origin):
                raise ValueError("write origins such as https://app.example.com: no path, no wildcard, lower case")
        return value

    def weaknesses(self) -> list[str]:
        plain = any(not origin.startswith("https://") for origin in self.cors_origins)
        return ["CORS_ORIGINS: every origin must start with https://"] if plain else []


class Cors(CORSMiddleware):
    """Starlette's middleware, with problem documents and an event for a refused origin."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], methods: list[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=methods,
            allow_headers=REQUEST_HEADERS,
            allow_credentials=False,
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_SECONDS,
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

        async def vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), VARY]
            await send(message)

        await self.app(scope, receive, vary)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        # Starlette adds the headers that browsers send without asking.
        headers["access-control-allow-headers"] = ", ".join(REQUEST_HEADERS)
        if response.status_code == 200:
            return Response(status_code=204, headers=headers)
        context = events.current.get()
        problem = Problem(400, detail="No page of this origin may send such a request.", headers=headers)
        return errors.respond(problem, context.request_id if context else "")


def install(app: FastAPI) -> None:
    methods = {"HEAD", *(method for policy in Policies(app).all for method in policy.methods)} - {"WEBSOCKET"}
    kind = tuple if in_production() else WithLocalOrigins
    origins = app.state.cors_origins = kind(CorsSettings.current().cors_origins)
    app.add_middleware(Cors, origins=origins, methods=sorted(methods))
