"""The modules at the top of `app/security`, and `app/database.py`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("compose", "access/test_access", "[Middleware(start_up.NotSecured)]", "[]"),
    Sabotage("compose", "http/test_telemetry", 'options["telemetry"] = NO_TELEMETRY', "pass"),
    Sabotage("compose", "admission/test_forms", '"form_limits": forms, ', ""),
    Sabotage("compose", "limits/test_rate_limits", "    caller_limits.install(app)\n", ""),
    Sabotage(
        "database",
        "core/test_database",
        'DbSession = Annotated[AsyncSession, Depends(session, scope="function")]',
        'DbSession = Annotated[AsyncSession, Depends(session, scope="request")]',
    ),
    Sabotage("database", "core/test_settings_details", 'if "sslmode" in url.query and', "if False and"),
    Sabotage("database", "core/test_database", "                path.chmod(0o600)\n", ""),
    Sabotage("database", "core/test_database", ", close_resets_only=False", ""),
    Sabotage("database", "core/test_transactions", "class_=Transaction, ", ""),
    Sabotage("database", "core/test_transactions", " or not transaction.is_active:", ":"),
    Sabotage("database", "core/test_transactions", '(errors := session.info.get("errors"))', "(errors := [])"),
    Sabotage("database", "core/test_transactions", ', "after_commit", "errors")', ', "after_commit")'),
    Sabotage("database", "core/test_transactions", "del session.info.get(name, [])[number:]", "pass"),
    Sabotage("database", "core/test_transactions", "except Exception:  # the change", "except KeyError:  # the change"),
    Sabotage("database", "core/test_transactions", 'if connection.scope["type"] == "websocket":', "if False:"),
    Sabotage("database", "core/test_settings_details", 'url.database in (None, "", ":memory:")', "False"),
    Sabotage("database", "core/test_database_faults", '"foreign_keys=ON"', '"foreign_keys=OFF"'),
    Sabotage("conflicts", "operations/test_conflicts", "if line.startswith(MARKERS):", "if False:"),
    Sabotage("cli", "operations/test_cli", "path.touch(0o600,", "path.touch(0o644,"),
    Sabotage("cli", "operations/test_cli", "        path.chmod(0o600)\n", ""),
]
