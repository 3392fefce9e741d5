"""Rate limits of single routes: `@limiter.limit("5/minute")`, directly above a function with `request: Request`.

`critical=True` responds 503 while Redis is unavailable. RATE_LIMIT limits each caller on all routes.
"""

from app.security.limits.route_limits import limiter as limiter
