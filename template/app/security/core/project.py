"""Moved: import these from `core/settings.py`."""

from app.security.core.settings import NAME as NAME
from app.security.core.settings import SLUG as SLUG
