"""What this project is called in its tokens and keys, and which version of it this is."""

import contextlib
import tomllib
from functools import cache
from importlib import metadata

from app.security.core.settings import ROOT

NAME = "{{= project_name }}"
SLUG = "{{= slug }}"  # it stays as it is when the project is renamed


@cache
def version() -> str:
    """What pyproject.toml says; where only the package is installed, what that says."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        # First: what is installed beside a checkout knows the version of the last `uv sync`.
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(f"{SLUG}-service")
    return "0"
