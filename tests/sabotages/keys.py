"""Edits that remove the protections of `app/security/keys`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("keys/api_keys", "keys/test_api_keys", "or parsed.mode != self.mode", "or False"),
    Sabotage("keys/api_keys", "keys/test_api_keys", "row.revoked_at is not None or", "False or"),
    Sabotage(
        "keys/key_format",
        "keys/test_key_format",
        "checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]",
        "False",
    ),
    Sabotage(
        "keys/store", "keys/test_key_use", "if len([key for key in live if key.replaced_at is None]) >= room or", "if"
    ),
    Sabotage(
        "keys/store",
        "keys/test_key_routes",
        "row.key_hash, row.last_four = token_hash(text)",
        "row.key_hash, row.last_four = text.encode()[:32]",
    ),
    Sabotage("keys/commands", "keys/test_key_commands", 'if owner.kind != "service":', "if False:"),
    Sabotage("keys/routes", "keys/test_key_routes", "if not allowed.issuperset(wanted.scopes):", "if False:"),
]
