"""Rate limits: one before routing for every request, and `@limiter.limit("5/minute")` for single routes.

The decorator stands directly above the function, which takes `request: Request`. With Redis write `def`, not
`async def`: slowapi waits for Redis where it stands.
"""

from fastapi import FastAPI

from app.security.limits import caller_limits, route_limit_checks, route_limits
from app.security.limits.route_limits import limiter as limiter


def install(app: FastAPI) -> None:
    caller_limits.install(app)
    route_limits.install(app)
    route_limit_checks.install(app)
