"""Assembles what protects the app.

The way of a request: client address, request id, access log and security headers, CORS, start-up check, admission
control (where the policy of its route is looked up; it guards WebSockets too), rate limit, error documents, access (no
policy, no entry; its requirements are checked before FastAPI reads anything), your middleware, routing, the route.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from app import database
from app.security.access import identity
from app.security.access.credentials import Credentials
from app.security.access.policy import Declared, Hooks
from app.security.admission import request_guard
from app.security.core import logs, settings
from app.security.http import api_docs, client_address, errors, request_log
from app.security.operations import migrations, serve, start_up

# isort: off
# {% if features.jwt.enabled %}
from app.security import administration, authentication

# {% endif %}
# {% if features.roles.enabled %}
from app.security.administration import people

# {% endif %}
# {% if features.api_keys.enabled %}
from app.security import keys

# {% endif %}
# {% if features.key_routes.enabled %}
from app.security.keys import routes as key_routes

# {% endif %}
# {% if features.rate_limits.enabled %}
from app.security.limits import caller_limits

# {% endif %}
# {% if features.cors.enabled %}
from app.security.http import cors

# {% endif %}
# {% if features.audit_log.enabled %}
from app.security import audit

# {% endif %}
# {% if features.audit_routes.enabled %}
from app.security.audit import routes as audit_routes
# {% endif %}
# isort: on

FORM_FIELDS, FIELD_BYTES = 20, 64 * 1024
NO_TELEMETRY = {"tracing": False, "metrics": False, "logs": False}


def fastapi_options() -> dict[str, Any]:
    """For `FastAPI(…)`: no documents of its own, /notes/ is not /notes, small forms, and nothing for OpenTelemetry.

    A route that takes larger forms declares it: `app.post("/…", form_limits={"max_fields": 100})`. Telemetry would hold
    query strings and the messages of exceptions (ASVS 5.0 V16.2.5): FASTAPI_OTEL_AUTO_CONFIGURE=true switches it on.
    """
    options: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None, "redirect_slashes": False}
    if os.environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() != "true":  # as FastAPI reads it
        options["telemetry"] = NO_TELEMETRY
    forms = {"max_fields": FORM_FIELDS, "max_files": FORM_FIELDS, "max_part_size": FIELD_BYTES}
    return options | {"form_limits": forms, "middleware": [Middleware(start_up.NotSecured)]}


def secure(app: FastAPI, *, public: Iterable[str] | Declared = (), guarded: Declared | None = None) -> None:
    """Protect an app whose routers and middleware are all in place.

    A mount, a plain route or `app.frontend` takes no dependencies, so its path stands here: in `public` where it opts
    out of authentication, or in `guarded`; each with the declarations of a route, such as
    `guarded={"/reports": [require_role(Role.ADMIN)]}` or `public={"/pages": [content_security_policy("…")]}`.
    Raises: SystemExit 78 with every reason, when the settings are too weak to start with.
    """
    first = len(app.routes)
    reasons = settings.problems()
    if reasons and not settings.looking_only:
        settings.refuse(reasons)
    app.state.may_serve = not reasons
    logs.configure()
    app.state.database = database.Database()
    app.state.hooks = Hooks([migrations.at_start, serve.drain_before_exit], [lambda app: app.state.database.close()])
    # {% if features.audit_log.enabled %}
    audit.install(app)
    # {% endif %}
    _add_callers(app)
    opened: Declared = public if isinstance(public, Mapping) else dict.fromkeys(public, ())
    documents = api_docs.install(app, {*opened, *(guarded or {})})
    start_up.place_ours(app, first)
    opened = {**opened, **dict.fromkeys(documents, ())}
    _add_middleware(app, {path: [identity.public, *also] for path, also in opened.items()} | dict(guarded or {}))


def _add_callers(app: FastAPI) -> None:
    """How callers authenticate; each feature adds its own routes, the busiest first."""
    app.state.credentials = Credentials()
    # {% if features.jwt.enabled %}
    administration.install(app)  # GET /users/me
    authentication.install(app)
    # {% endif %}
    app.state.readiness = start_up.Readiness(app.state.database)
    app.routes.extend(start_up.router.routes)
    # {% if features.roles.enabled %}
    app.routes.extend(people.router.routes)
    # {% endif %}
    # {% if features.audit_routes.enabled %}
    app.routes.extend(audit_routes.router.routes)
    # {% endif %}
    # {% if features.api_keys.enabled %}
    keys.install(app)
    # {% endif %}
    # {% if features.key_routes.enabled %}
    app.routes.extend(key_routes.router.routes)
    # {% endif %}


def _add_middleware(app: FastAPI, declared: Declared) -> None:
    """Innermost first: a request passes them from the last to the first."""
    app.add_middleware(identity.Access)
    errors.install(app)
    # {% if features.rate_limits.enabled %}
    caller_limits.install(app)
    # {% endif %}
    request_guard.install(app)
    start_up.install(app, declared)
    # {% if features.cors.enabled %}
    cors.install(app)
    # {% endif %}
    app.add_middleware(request_log.RequestLog, shared=app)
    app.add_middleware(client_address.ClientAddress)
    kinds: list[Any] = [layer.cls for layer in app.user_middleware]
    app.state.layers = app.user_middleware[: kinds.index(identity.Access) + 1]  # yours stand inside of them
