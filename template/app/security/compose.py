"""What protects the app, and in which order."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from app import database
from app.security import (
    api_docs,
    auth_routes,
    bearer,
    client_address,
    # {% if features.cors.enabled %}
    cors,
    # {% endif %}
    development,
    errors,
    headers,
    health,
    identity,
    logs,
    migrations,
    passwords,
    # {% if features.roles.enabled %}
    people,
    # {% endif %}
    project,
    request_guard,
    request_log,
    settings,
    start_up,
    users,
    websockets,
)


def fastapi_options() -> dict[str, Any]:
    """For `FastAPI(…)`: our documents stand in for its own, and /notes/ is not /notes."""
    return {"openapi_url": None, "docs_url": None, "redoc_url": None, "redirect_slashes": False}


def secure(app: FastAPI, *, public: Iterable[str] = ()) -> None:
    """Protect an app whose routers and layers are all in place.

    `public` names the paths of what takes no dependencies (a mount, a plain route, `app.frontend`) and is open to all.
    Raises: SystemExit 78 with every reason, when the settings are too weak to start with.
    """
    reasons = settings.problems()
    if reasons and not settings.looking_only:
        settings.refuse(reasons)
    app.state.may_serve = not reasons
    logs.configure(app.version)
    app.state.database = database.Database()
    identity.install(app, [bearer.BearerToken()])
    passwords.install(app, project.SLUG)
    _add_routes(app)
    _add_layers(app, [*public, *api_docs.install(app)])


def _add_layers(app: FastAPI, public: list[str]) -> None:
    """Innermost first: a request meets them from the last to the first."""
    errors.install(app)
    websockets.install(app)
    request_guard.install(app)
    start_up.install(
        app,
        public=public,
        at_start=[migrations.on_start, development.first_lines],
        at_end=[passwords.on_end, database.on_end],
    )
    # {% if features.cors.enabled %}
    cors.install(app)
    # {% endif %}
    headers.install(app)
    request_log.install(app)
    client_address.install(app)
    start_up.remember_layers(app)


def _add_routes(app: FastAPI) -> None:
    health.install(app)
    # {% if features.roles.enabled %}
    people.install(app)
    # {% endif %}
    auth_routes.install(app)
    users.install(app)
