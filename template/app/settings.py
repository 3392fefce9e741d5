"""Your own settings. Each protection reads its own; these are read the same way: environment, secret files, `.env`."""

from app.security.settings import SecuritySettings


class Settings(SecuritySettings):
    """Add a field, and `Settings.current().field` reads the variable FIELD; a missing or bad one stops the start."""
