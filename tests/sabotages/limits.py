"""Edits that remove the protections of `app/security/limits`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("limits/limit_storage", "limits/test_limit_storage", "if not -expiry < age", "if not 0 <= age"),
    Sabotage("limits/caller_limits", "limits/test_rate_limits", "if refusal is None:", "if True:"),
    Sabotage("limits/caller_limits", "limits/test_limited_callers", "credentials.on_identified.append(charge)", "pass"),
    Sabotage("limits/caller_limits", "limits/test_rate_limit_settings", "1 or _is_worker()", "1"),
    Sabotage(
        "limits/limit_settings", "limits/test_rate_limit_settings", 'name.upper().startswith("RATELIMIT_")', "False"
    ),
    Sabotage("limits/limit_storage", "limits/test_limit_storage", "max(1, limit // processes)", "limit"),
    Sabotage(
        "limits/route_limit_storage",
        "limits/test_limit_storage",
        "alone = share(limit, self._processes)",
        "alone = limit",
    ),
    Sabotage("limits/route_limits", "limits/test_route_limits", "or caller_key(request)", 'or ""'),
    Sabotage("limits/route_limit_checks", "limits/test_route_limit_checks", ", *_failing(policy)]", "]"),
    Sabotage(
        "limits/route_limit_checks",
        "limits/test_route_limit_checks",
        "if not owners and name in limiter.decorated():",
        "if False:",
    ),
]
