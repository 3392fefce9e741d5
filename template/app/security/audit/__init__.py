"""The audit log: security events in a tamper-evident table, kept for a year.

`chain` links and verifies the rows, `log` writes them; `commands` is `manage audit`, `routes` is GET /audit-events.
"""

from app.security.audit.log import install as install

RETENTION_DAYS = 365  # `manage audit prune` removes older rows
