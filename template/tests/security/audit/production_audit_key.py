"""What production needs for the audit log."""

import secrets

VARIABLES = {"AUDIT_KEY": secrets.token_hex(64)}
