"""What FastAPI tells OpenTelemetry: nothing, until its own `FASTAPI_OTEL_AUTO_CONFIGURE=true` asks for it.

It would use whatever provider some library has set for the process, and hand it query strings and the messages and
traces of exceptions, none of which our events hold (ASVS 5.0 V16.2.5). To look for one takes time at each request, too.
"""

import os
from typing import Any

from starlette.types import Scope

SIGNALS = ("tracing", "metrics", "logs")


def options() -> dict[str, Any]:
    """For `FastAPI(…)`. Yours may take their place: `FastAPI(**fastapi_options() | {"telemetry": {…}})`."""
    asked_for = os.environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == "true"  # as FastAPI reads it
    return {} if asked_for else {"telemetry": dict.fromkeys(SIGNALS, False)}


def silence(scope: Scope) -> None:
    """Where this app tells nothing of a request, an app that is mounted below it tells nothing either."""
    scope.setdefault("fastapi.telemetry", None)
