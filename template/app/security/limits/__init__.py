"""Rate limits: one for each caller with its settings and counters, and `@limiter.limit` for single routes."""

from fastapi import FastAPI

from app.security.access.policy import hooks_of
from app.security.limits import caller_limits, route_limits


def install(app: FastAPI) -> None:
    caller_limits.install(app)
    hooks_of(app).checks.append(route_limits.ineffective)
