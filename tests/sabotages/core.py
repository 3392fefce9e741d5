"""Edits that remove the protections of `app/security/core`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("core/tables", "access/test_misused_requirements", "encoders_by_class_tuples[_encode] = (", "print("),
    Sabotage("core/events", "core/test_sentry", 'options["include_local_variables"] = False', "pass"),
    Sabotage("operations/start_up", "core/test_sentry", "events.configure_sentry()", "pass"),
    Sabotage(
        "core/settings",
        "core/test_settings",
        '"FASTAPI_ENV") or "production"\n    if',
        '"FASTAPI_ENV") or "development"\n    if',
    ),
    Sabotage("core/settings", "core/test_settings", "hide_input_in_errors=True", "hide_input_in_errors=False"),
    Sabotage("core/settings", "core/test_settings", "settings.weaknesses() if in_production() else []", "[]"),
    Sabotage("core/settings", "core/test_settings_details", "if text:", "if True:"),
    Sabotage("http/request_log", "core/test_owners_log_lines", "context.status or 500", "context.status"),
    Sabotage("core/settings", "core/test_settings", "len(decoded) < MINIMUM_BYTES or", "False or"),
    Sabotage("core/settings", "core/test_settings", "info=purpose.encode()", 'info=b""'),
    Sabotage("operations/start_up", "limits/test_route_limits", "in app.state.hooks.checks:", "in ():"),
    Sabotage("operations/start_up", "core/test_transactions", "if database.session in policy.calls]", "if False]"),
    Sabotage(
        "operations/start_up",
        "operations/test_no_lifespan",
        "except Exception:  # the others",
        "except KeyError:  # the others",
    ),
    Sabotage("core/logs", "core/test_log_lines_details", "|(?<='input': ).+", ""),
    Sabotage("core/tables", "core/test_database", ".casefold()", ""),
    Sabotage("core/tables", "core/test_database", " and not _INVISIBLE.search(name)", ""),
    Sabotage(
        "core/events",
        "authentication/test_sessions",
        "str(actor or (context.actor if context else",
        "str((context.actor if context else",
    ),
    Sabotage("core/events", "core/test_event_lines", "if now - written < EVERY_SECONDS:", "if False:"),
    Sabotage(
        "core/problems",
        "http/test_errors",
        'media_type = "application/problem+json"',
        'media_type = "application/json"',
    ),
    Sabotage(
        "core/events",
        "core/test_event_lines",
        "after_commit(db, lambda: logs.write(fields))",
        "logs.write(fields)",
    ),
    Sabotage("core/logs", "core/test_log_lines", '_CREDENTIAL.sub("[redacted]", text)', "text"),
    Sabotage(
        "core/logs", "admission/test_on_the_wire", "addFilter(_is_worth_a_line)", "addFilter(lambda record: True)"
    ),
    Sabotage("core/logs", "core/test_log_lines_details", r"|(?<=input_value=).+", ""),
    Sabotage("core/logs", "core/test_log_lines_details", 'name != "uvicorn.access"', "True"),
    Sabotage("core/logs", "core/test_log_lines_details", """('%s - "WebSocket %s"', "ASGI""", '("ASGI'),
]
