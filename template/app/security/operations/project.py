"""Checks of this checkout for `manage doctor`: dropped packages, misspelt settings, an unreachable template."""

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec

from dotenv import dotenv_values

from app.security import conflicts
from app.security.core import settings
from app.security.http.client_address import ProxySettings

REACHABLE = re.compile(r"gh:|gl:|[\w.-]+@[\w.-]+:|(?:git\+)?(?:https?|ssh)://")


def missing_packages() -> Iterator[str]:
    """Each import in app/ and migrations/ of a package that is not installed, with the command that adds it."""
    for path in conflicts.project_files():
        name = path.relative_to(conflicts.ROOT)
        if path.suffix == ".py" and name.parts[0] in ("app", "migrations"):
            for package in sorted(_imported_packages(path.read_bytes())):
                if not (conflicts.ROOT / package).exists() and find_spec(package) is None:
                    yield f"{name.as_posix()} imports {package}, which is not installed: uv add {package}"


def _imported_packages(source: bytes) -> set[str]:
    """The packages of the unconditional imports: what stands in `try` or in a function may be missing."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return set()
    modules = [one.module for one in statements if isinstance(one, ast.ImportFrom) and one.module and not one.level]
    modules += [alias.name for one in statements if isinstance(one, ast.Import) for alias in one.names]
    return {module.partition(".")[0] for module in modules}


def unreachable_template() -> Iterator[str]:
    """The template's address, where it is a folder of one machine: neither a bot nor a colleague can update from it."""
    answers = conflicts.ROOT / ".copier-answers.yml"
    found = re.search(r"^_src_path: *(.+)$", answers.read_text(), re.MULTILINE) if answers.is_file() else None
    address = found[1].strip("'\"") if found else "https://"
    if not REACHABLE.match(address):
        yield (
            f"no bot and no colleague can update this project: its template is a folder of this machine, {address}. "
            "Write the address of the repository after _src_path in .copier-answers.yml, and commit it"
        )


def misspelt_settings() -> Iterator[str]:
    """Names in .env that are close to that of a setting, and so have no effect."""
    known = settings.names()
    for name in dotenv_values(settings.env_file, interpolate=False) if settings.env_file else ():
        if name.upper() not in known and (close := get_close_matches(name.upper(), known, 1, 0.85)):
            yield f"{name} in .env is no setting: write {close[0]}"


def unset_proxies() -> Iterator[str]:
    if settings.in_production() and not ProxySettings.current().trusted_proxies:
        yield 'TRUSTED_PROXIES is empty: set it to the proxy\'s address, or every request is refused with "Use https."'
