"""Edits that remove the protections of `app/security/keys`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("keys/routes", "keys/test_key_routes", "caller.id, ApiKey.id ==", "ApiKey.account_id, ApiKey.id =="),
    Sabotage(
        "keys/__init__",
        "keys/test_api_keys",
        "        context.actor, context.credential = str(row.account_id), row.id",
        "        context",
    ),
    Sabotage("keys/__init__", "keys/test_api_keys", "if mode != MODES[environment()]:", "if not mode:"),
    Sabotage("keys/__init__", "keys/test_api_keys", "row.revoked_at is not None or", "False or"),
    Sabotage("keys/__init__", "keys/test_api_keys", "or not row.is_active", ""),
    Sabotage("keys/__init__", "keys/test_api_keys", "if row.expires_at <= utc_now():", "if False:"),
    Sabotage("keys/__init__", "keys/test_api_keys", "scopes=frozenset(row.scopes.split())", "scopes=None"),
    Sabotage(
        "keys/store", "keys/test_key_format", "checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]", "False"
    ),
    Sabotage(
        "keys/store", "keys/test_key_store", "if len([key for key in live if key.replaced_at is None]) >= most or", "if"
    ),
    Sabotage(
        "keys/store",
        "keys/test_api_keys",
        "row.key_hash, row.last_four = token_hash(text)",
        "row.name, row.key_hash, row.last_four = text[-49:], token_hash(text)",
    ),
    Sabotage("keys/store", "keys/test_key_store", "ApiKey.replaced_at.is_(None), ", ""),
    Sabotage("keys/commands", "keys/test_key_commands_details", 'if owner.kind != "service":', "if False:"),
    Sabotage("keys/routes", "keys/test_key_routes_details", "if not allowed.issuperset(wanted.scopes):", "if False:"),
]
