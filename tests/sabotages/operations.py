"""Edits that remove the protections of `app/security/operations`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage(
        "operations/start_up", "operations/test_start_up", "if app.user_middleware[: len(layers)] != layers", "if False"
    ),
    Sabotage("operations/start_up", "http/test_mounted_apps", "below.redirect_slashes = False", "pass"),
    Sabotage(
        "operations/start_up",
        "operations/test_start_up",
        "if self.production and any(map(_overrides, self.served)):",
        "if False:",
    ),
    Sabotage("operations/start_up", "admission/test_json_bodies", "any(map(may_be_read_late, self.served))", "False"),
    Sabotage("operations/start_up", "operations/test_cli", 'if "layers" not in app.state:', "if False:"),
    Sabotage(
        "operations/health",
        "operations/test_health",
        'detail="Not ready."',
        "detail=str(request.state.database.engine.url)",
    ),
    Sabotage(
        "operations/migrations",
        "operations/test_migrations",
        'kind != "table" or item.key not in SECURITY_TABLES | {SECURITY_VERSIONS}',
        "True",
    ),
    Sabotage(
        "operations/migrations",
        "operations/test_migrations",
        "found.is_empty and not in_production()",
        "found.is_empty",
    ),
    Sabotage("operations/migrations", "operations/test_migrations", "elif found.behind:", "elif False:"),
    Sabotage("operations/doctor", "operations/test_doctor", "if in_production() and chosen.weaknesses():", "if False:"),
    Sabotage("operations/doctor", "operations/test_doctor", "path.stat().st_mode & 0o077", "False"),
    Sabotage(
        "operations/doctor", "operations/test_cli", "if policy.public and not policy.guarded:", "if policy.guarded:"
    ),
    Sabotage(
        "operations/terminal",
        "operations/test_cli",
        'return type(getattr(error, "driver_exception", None) or error).__name__',
        "return str(error)",
    ),
    Sabotage("conflicts", "operations/test_conflicts", "if line.startswith(MARKERS):", "if False:"),
]
