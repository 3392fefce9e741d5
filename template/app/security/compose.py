"""What protects the app, and in which order."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from app import database
from app.security.access import identity, known_roles
from app.security.admission import body_shapes, request_guard, single_parameters
from app.security.core import hooks, logs, settings
from app.security.http import api_docs, client_address, errors, headers, request_log, telemetry, websockets
from app.security.operations import health, migrations, start_up

# Each stands in its condition.
# isort: off
# {% if features.jwt.enabled %}
from app.security.authentication import password_grant

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
from app.security import limits

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


def fastapi_options() -> dict[str, Any]:
    """For `FastAPI(…)`: our documents stand in for its own, /notes/ is not /notes, declared forms are small, and
    OpenTelemetry is told nothing unless it is asked for (`telemetry.py`).

    A route that takes larger forms says so: `app.post("/…", form_limits={"max_fields": 100})`.
    """
    forms = {"max_fields": FORM_FIELDS, "max_files": FORM_FIELDS, "max_part_size": FIELD_BYTES}
    ours = {"openapi_url": None, "docs_url": None, "redoc_url": None, "redirect_slashes": False}
    return {**ours, "form_limits": forms, **telemetry.options()}


def secure(app: FastAPI, *, public: Iterable[str] = ()) -> None:
    """Protect an app whose routers and layers are all in place.

    `public` names the paths of what takes no dependencies (a mount, a plain route, `app.frontend`) and is open to all.
    Raises: SystemExit 78 with every reason, when the settings are too weak to start with.
    """
    reasons = settings.problems()
    if reasons and not settings.looking_only:
        settings.refuse(reasons)
    app.state.may_serve = not reasons
    logs.configure()
    app.state.database = database.Database()
    hooks.hooks_of(app).at_end.append(database.on_end)
    migrations.install(app)
    # {% if features.audit_log.enabled %}
    audit.install(app)
    # {% endif %}
    _add_callers(app)
    _add_layers(app, [*public, *api_docs.install(app)])


def _add_callers(app: FastAPI) -> None:
    """Who may call and how they say who they are; each brings its own routes."""
    identity.install(app)
    health.install(app)
    body_shapes.install(app)
    known_roles.install(app)
    # {% if features.roles.enabled %}
    people.install(app)
    # {% endif %}
    # {% if features.audit_routes.enabled %}
    audit_routes.install(app)
    # {% endif %}
    # {% if features.jwt.enabled %}
    password_grant.install(app)
    # {% endif %}
    # {% if features.api_keys.enabled %}
    keys.install(app)
    # {% endif %}
    # {% if features.key_routes.enabled %}
    key_routes.install(app)
    # {% endif %}


def _add_layers(app: FastAPI, public: list[str]) -> None:
    """Innermost first: a request meets them from the last to the first."""
    errors.install(app)
    websockets.install(app)
    single_parameters.install(app)
    # {% if features.rate_limits.enabled %}
    limits.install(app)
    # {% endif %}
    request_guard.install(app)
    start_up.install(app, public)
    # {% if features.cors.enabled %}
    cors.install(app)
    # {% endif %}
    headers.install(app)
    request_log.install(app)
    client_address.install(app)
    start_up.remember_layers(app)
