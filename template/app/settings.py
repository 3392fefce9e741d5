"""Your own settings. Each protection reads its own; these are read the same way: environment, secret files, `.env`.

Tests read no `.env`: give what has no default a value in `tests/conftest.py`, above `pytest_plugins`.
"""

from app.security.settings import SecuritySettings


class Settings(SecuritySettings):
    """Add a field, and `Settings.current().field` reads the variable FIELD; a missing or bad one stops the start."""
