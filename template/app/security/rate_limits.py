"""Rate limits of single routes: `@limiter.limit("5/minute")`, directly above a function with `request: Request`.

`critical=True` responds 503 while Redis is unavailable. RATE_LIMIT limits each caller on all routes: `exempt` takes a
route out of it, `limit_of_caller` gives each caller their own.
"""

from app.security.limits.caller_limits import exempt as exempt
from app.security.limits.caller_limits import limit_of_caller as limit_of_caller
from app.security.limits.route_limits import limiter as limiter
