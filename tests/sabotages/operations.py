"""Edits that remove the protections of `app/security/operations`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage(
        "operations/start_up", "operations/test_start_up", "for deeper in mounted_apps(one)]", "for deeper in ()]"
    ),
    Sabotage("operations/waf", "operations/test_waf_rules", 'MARKS = (FREE_TEXT, "writeOnly")', "MARKS = (FREE_TEXT,)"),
    Sabotage(
        "operations/waf", "operations/test_waf_rules", "if lists > 1 or (lists", "if lists > 1 or False and (lists"
    ),
    Sabotage("operations/waf", "operations/test_waf_rules", "if written.get(name, text) != text]", "if False]"),
    Sabotage(
        "operations/start_up", "operations/test_waf_rules", 'and f" {deployed};" not in', 'and f" {deployed};" in'
    ),
    Sabotage("operations/serve", "operations/test_unready", "    signal.signal(signal.SIGTERM, drain)\n", ""),
    Sabotage("operations/start_up", "operations/test_unready", "if self.draining:", "if False:"),
    Sabotage("operations/start_up", "operations/test_unready", "if UNWRITABLE.match(code):", "if False:"),
    Sabotage("operations/start_up", "operations/test_unready", "if abs(seconds) > CLOCK_SECONDS", "if False"),
    Sabotage("http/request_log", "operations/test_unready", '["readiness"].draining:', '["readiness"] is None:'),
    Sabotage("operations/doctor", "operations/test_replaced_routes", "report.problems += app.state.replaced", "pass"),
    Sabotage("operations/doctor", "operations/test_project", "if not REACHABLE.match(address):", "if False:"),
    Sabotage("operations/start_up", "operations/test_start_up_hints", "() if in_production() else _conflicts()", "()"),
    Sabotage("operations/start_up", "access/test_declared_paths", "if not app.state.has_options and", "if False and"),
    Sabotage(
        "operations/start_up",
        "operations/test_no_lifespan",
        '!= "lifespan.startup.complete":',
        '== "":',
    ),
    Sabotage("operations/start_up", "operations/test_no_lifespan", "if not self.started and", "if False and"),
    Sabotage(
        "operations/start_up",
        "operations/test_start_up",
        "if app.user_middleware[: len(app.state.layers)] != app.state.layers",
        "if False",
    ),
    Sabotage("operations/start_up", "http/test_mounted_apps", "served.router.redirect_slashes = False", "pass"),
    Sabotage(
        "operations/start_up",
        "operations/test_start_up",
        'if any(getattr(one, "dependency_overrides", None) for one in served):',
        "if False:",
    ),
    Sabotage(
        "operations/start_up",
        "access/test_access",
        "place = hides.index(True) if True in hides else first",
        "place = first",
    ),
    Sabotage("operations/start_up", "operations/test_cli", 'if "layers" not in app.state:', "if False:"),
    Sabotage(
        "operations/doctor",
        "operations/test_body_shapes",
        'schema.get("additionalProperties") is not False',
        "False",
    ),
    Sabotage(
        "operations/start_up",
        "operations/test_health",
        'detail="Not ready."',
        "detail=str(request.state.database.engine.url)",
    ),
    Sabotage(
        "operations/migrations",
        "operations/test_migrations",
        'kind != "table" or (item.key in SECURITY_TABLES | {SECURITY_VERSIONS}) == ours',
        "True",
    ),
    Sabotage(
        "operations/migrations",
        "operations/test_migrations",
        "is_empty and not in_production()",
        "is_empty",
    ),
    Sabotage("operations/migrations", "operations/test_other_metadata", "log.warning(DROPPED, name)", "pass"),
    Sabotage("operations/migrations", "operations/test_migrations", "elif behind:", "elif False:"),
    Sabotage("operations/doctor", "operations/test_doctor", "if in_production() and chosen.weaknesses():", "if False:"),
    Sabotage("operations/doctor", "operations/test_doctor", "path.stat().st_mode & 0o077", "False"),
    Sabotage(
        "operations/doctor", "operations/test_cli", "if policy.public and not policy.guarded:", "if policy.guarded:"
    ),
    Sabotage(
        "operations/terminal",
        "operations/test_cli_details",
        'return type(getattr(error, "driver_exception", None) or error).__name__',
        "return str(error)",
    ),
    Sabotage("operations/terminal", "operations/test_processes", "and not is_intended:", "and False:"),
    Sabotage("conflicts", "operations/test_conflicts", "if line.startswith(MARKERS):", "if False:"),
]
