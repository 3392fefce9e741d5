"""Database migrations: the template's chain, then yours, applied by one process at a time.

The template's chain has its own version table and only grows. Yours is plain Alembic: one history, one head. Migrations
run without SQLite's foreign keys: a batch change of a table would delete the rows that refer to it.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import FastAPI
from sqlalchemy import URL, Connection, MetaData, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import NullPool

from app.database import Base, DatabaseSettings, UtcDateTime, create_engine, database_url
from app.security.core.settings import ROOT, in_production
from app.security.core.tables import SECURITY_TABLES, SECURITY_VERSIONS

log = logging.getLogger(__name__)
LOCK = 0x5EC0_0001  # any constant, the same in every process
LOCK_SECONDS = 300
UNSEEN = "no revision sees the tables of %s (%s): use Base of app.database, or first write %s.metadata = Base.metadata"
DROPPED = "no model has the table %s: a new revision drops it with all its rows, unless you move its model into app/api"
LOST = "revision %s of the database has no file here: of another branch (`alembic downgrade -1` there), newer, or lost"
VERSION_TABLES = (SECURITY_VERSIONS, "alembic_version")  # of the template's chain, and of yours


def migration_url() -> URL:
    settings = DatabaseSettings.current()
    return database_url(settings.migration_database_url or settings.database_url)


def configs() -> tuple[Config, Config]:
    """Alembic's configuration of the template's chain, and of yours."""
    security = Config()
    security.set_main_option("script_location", str(ROOT / "migrations/security").replace("%", "%%"))
    return security, Config(toml_file=ROOT / "pyproject.toml")


@cache
def _scripts() -> list[ScriptDirectory]:
    return [ScriptDirectory.from_config(config) for config in configs()]


def new_engine() -> AsyncEngine:
    """Without the service's time-outs: a migration may take longer than a request."""
    url = migration_url()
    return create_engine(url, {"timeout": 60 if url.get_backend_name() == "sqlite" else 3}, poolclass=NullPool)


async def migrate() -> None:
    """Bring both chains to their newest revision. Of several processes at once, one makes each change."""

    def upgrade(connection: Connection) -> None:
        for config in configs():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    async with new_engine().connect() as connection, _locked(connection):
        await connection.run_sync(upgrade)


@asynccontextmanager
async def _locked(connection: AsyncConnection) -> AsyncIterator[None]:
    if connection.dialect.name == "sqlite":  # holds the write lock until the end: all or nothing
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        await connection.commit()
        return
    # Polled: waiting inside pg_advisory_lock() deadlocks with CREATE INDEX CONCURRENTLY.
    async with asyncio.timeout(LOCK_SECONDS):
        while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
            await connection.commit()
            await asyncio.sleep(0.2)
    await connection.commit()  # or Alembic sees an outer transaction and never commits
    yield  # closing the connection releases the lock


async def waiting() -> tuple[int, bool]:
    """How many revisions wait, and whether a start applies them. Raises: OSError, SQLAlchemyError, TimeoutError."""
    async with new_engine().connect() as connection:
        return await connection.run_sync(_waiting)


def _waiting(connection: Connection) -> tuple[int, bool]:
    number = 0
    for scripts, table in zip(_scripts(), VERSION_TABLES, strict=True):
        found = MigrationContext.configure(connection, opts={"version_table": table}).get_current_heads()
        if set(found) <= {script.revision for script in scripts.walk_revisions()}:
            number += sum(1 for _ in scripts.iterate_revisions("heads", found[0] if found else "base"))
        else:
            log.warning(LOST, ", ".join(found))
    is_empty = connection.dialect.name == "sqlite" and not inspect(connection).get_table_names()
    return number, is_empty and not in_production()


async def at_start(app: FastAPI) -> None:
    """In development, migrate an empty SQLite database. Otherwise only log that migrations are missing."""
    try:
        async with app.state.database.read() as connection:
            behind, start_migrates = await connection.run_sync(_waiting)
    except (OSError, SQLAlchemyError, TimeoutError) as error:
        log.error("the state of the migrations cannot be read: %s", type(error).__name__)
        return
    if start_migrates:
        await migrate()
    elif behind:
        log.warning("%s migrations are waiting: run `uv run manage migrate`", behind)


# Shared by the two env.py files.


def _render(kind: str, item: Any, autogenerate: Any) -> str | bool:
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    module = type(item).__module__
    if kind == "type" and not module.startswith("sqlalchemy."):
        autogenerate.imports.add(f"import {module}")  # of SQLModel, for example
    return False


def run_security_chain() -> None:
    _run(Base.metadata, ours=True)


def run_your_chain(metadata: MetaData) -> None:
    """Your tables. They may refer to the template's tables; your revisions never create, change or drop those."""
    for base in (*DeclarativeBase.__subclasses__(), getattr(sys.modules.get("sqlmodel"), "SQLModel", Base)):
        if base.metadata.tables and base.metadata not in (metadata, Base.metadata):
            log.warning(UNSEEN, base.__name__, ", ".join(base.metadata.tables), base.__name__)
    _run(metadata, ours=False)


def _run(metadata: MetaData, *, ours: bool) -> None:
    def is_of_this_chain(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        is_of_it = kind != "table" or (item.key in SECURITY_TABLES | {SECURITY_VERSIONS}) == ours
        if is_of_it and kind == "table" and reflected and other is None:
            log.warning(DROPPED, name)
        return is_of_it

    options: dict[str, Any] = {"target_metadata": metadata, "include_object": is_of_this_chain}
    options |= {"version_table": VERSION_TABLES[0 if ours else 1], "render_as_batch": True, "render_item": _render}

    def run(connection: Connection | None = None, **offline: Any) -> None:
        context.configure(connection=connection, **options, **offline)
        with context.begin_transaction():
            context.run_migrations()

    if context.is_offline_mode():
        run(url=migration_url(), literal_binds=True, dialect_opts={"paramstyle": "named"})
    elif (given := context.config.attributes.get("connection")) is not None:
        run(given)
    else:
        asyncio.run(_from_command_line(run))


async def _from_command_line(run: Callable[[Connection], None]) -> None:
    async with new_engine().connect() as connection:
        await connection.run_sync(run)
