"""A query parameter of which a route takes one is sent once: who reads which of two is in doubt (ASVS 5.0 V15.3.7).

This is asked where the request has been counted, and it is written down like any other that is not valid.
"""

from collections import Counter
from collections.abc import Collection
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.security.access.policy import first_fitting
from app.security.core.events import Event
from app.security.core.problems import Problem


class SingleParameters:
    """Refuses by what it raises, which the request guard answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and b"&" in scope["query_string"]:
            _check(scope)
        await self.app(scope, receive, send)


def _check(scope: Scope) -> None:
    """Raises: Problem 422."""
    state = scope["state"]
    policy = first_fitting(state["policies"].all, scope)
    repeated = _repeated(scope["query_string"], policy.single) if policy else []
    if not policy or not repeated:
        return
    state["invalid_requests_reported"].record(
        f"{state['context'].client_ip} {policy.path}", Event.INPUT_VALIDATION_FAIL
    )
    errors = [{"pointer": f"/query/{name}", "detail": "is repeated", "code": "repeated"} for name in repeated]
    raise Problem(422, detail="The request is not valid.", errors=errors)


def _repeated(query: bytes, single: Collection[str]) -> list[str]:
    found = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return sorted(name for name in single if found[name] > 1)


def install(app: FastAPI) -> None:
    app.add_middleware(SingleParameters)
