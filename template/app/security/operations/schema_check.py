"""Whether the database has every revision of this checkout, asked at each start.

Alembic alone knows for certain, and takes as long to import as FastAPI; it is asked where a look at both sides finds
any difference.
"""

import ast
import logging
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import URL, String, column, select, table
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.security.core.hooks import hooks_of
from app.security.core.settings import ROOT, in_production
from app.security.core.tables import SECURITY_VERSIONS

log = logging.getLogger(__name__)
CHAINS = {SECURITY_VERSIONS: ROOT / "migrations/security/versions", "alembic_version": ROOT / "migrations/versions"}


def newest(folder: Path) -> set[str] | None:
    """The revisions of a folder that no other one there follows; None where only Alembic can tell."""
    known: set[str] = set()
    followed: set[str] = set()
    try:
        for path in folder.glob("*.py"):
            if not path.name.startswith((".", "__init__")):
                revision, after = _ids(path)
                known |= revision
                followed |= after
    except (OSError, SyntaxError, TypeError, ValueError, KeyError):
        return None
    return known - followed


def _ids(path: Path) -> tuple[set[str], set[str]]:
    """The revision in this file, and those that it follows. Raises: SyntaxError, KeyError, TypeError, ValueError."""
    found: dict[str, object] = {}
    for statement in ast.parse(path.read_bytes()).body:
        names = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for name in names:
            if isinstance(name, ast.Name) and name.id in ("revision", "down_revision"):
                found[name.id] = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    after = found["down_revision"]
    several = after if isinstance(after, tuple | list) else [] if after is None else [after]
    return {_text(found["revision"])}, {*map(_text, several)}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _is_no_file_yet(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()


async def _is_at_the_newest(database: Database) -> bool:
    """False also where that cannot be told from here. Raises: OSError, TimeoutError without a database."""
    if _is_no_file_yet(database.engine.url):
        return False  # to look would make it, and not for its owner alone
    try:
        async with database.read() as connection:
            for name, folder in CHAINS.items():
                rows = await connection.execute(select(column("version_num", String)).select_from(table(name)))
                if set(rows.scalars()) != newest(folder):
                    return False
    except SQLAlchemyError:  # a table that is not there, or not for this role
        return False
    return True


async def _on_start(app: FastAPI) -> None:
    """An empty SQLite database in development is migrated; whatever else is missing is named."""
    try:
        if await _is_at_the_newest(app.state.database):
            return
        from app.security.operations import migrations

        found = await migrations.state()
    except (OSError, TimeoutError) as error:
        log.error("the database cannot be reached: %s", type(error).__name__)
        return
    if found.is_empty and not in_production() and migrations.migration_url().get_backend_name() == "sqlite":
        await migrations.migrate()
    elif any(found.behind):
        log.warning("%s migrations are waiting: run `uv run manage migrate`", sum(found.behind))


def install(app: FastAPI) -> None:
    hooks_of(app).at_start.append(_on_start)
