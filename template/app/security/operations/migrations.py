"""Two chains of migrations, applied one after the other by one process at a time: ours, then yours.

Ours has its own version table and only ever grows. Yours is plain Alembic: one history, one head. Migrations run on a
connection of their own without SQLite's foreign keys, since a batch change of a table would delete the rows below it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, MetaData, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from app.database import Base, DatabaseSettings, UtcDateTime, create_engine, database_url
from app.security.core.settings import ROOT
from app.security.core.tables import SECURITY_TABLES, SECURITY_VERSIONS

LOCK = 0x5EC0_0001  # any constant, the same in every process
LOCK_SECONDS = 300


def migration_url() -> URL:
    settings = DatabaseSettings.current()
    return database_url(settings.migration_database_url or settings.database_url)


def configs() -> tuple[Config, Config]:
    """Alembic's configuration of our chain, and of yours."""
    security = Config()
    security.set_main_option("script_location", str(ROOT / "migrations/security").replace("%", "%%"))
    return security, Config(toml_file=ROOT / "pyproject.toml")


def new_engine() -> AsyncEngine:
    """Without the service's time-outs: a migration may take longer than a request."""
    url = migration_url()
    connecting = {"timeout": 60 if url.get_backend_name() == "sqlite" else 3}
    return create_engine(url, connecting, poolclass=NullPool)


async def migrate() -> None:
    """Bring both chains to their newest revision. Several processes may do so at once; each change is made once."""

    def upgrade(connection: Connection) -> None:
        for config in configs():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    async with new_engine().connect() as connection, _one_at_a_time(connection):
        await connection.run_sync(upgrade)


@asynccontextmanager
async def _one_at_a_time(connection: AsyncConnection) -> AsyncIterator[None]:
    if connection.dialect.name == "sqlite":  # holds the write lock until the end: all or nothing
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        await connection.commit()
        return
    # Polled: a waiter inside pg_advisory_lock() deadlocks with CREATE INDEX CONCURRENTLY.
    async with asyncio.timeout(LOCK_SECONDS):
        while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
            await connection.commit()
            await asyncio.sleep(0.2)
    await connection.commit()  # or Alembic sees an outer transaction and never commits
    yield  # closing the connection frees the lock


@dataclass(frozen=True)
class State:
    """Whether there are any tables, and how many revisions each chain is behind."""

    is_empty: bool
    behind: tuple[int, int]


async def state() -> State:
    """How the database stands to the revisions in this checkout."""
    async with new_engine().connect() as connection:
        return await connection.run_sync(_state)


def _state(connection: Connection) -> State:
    counts = []
    for config, table in zip(configs(), (SECURITY_VERSIONS, "alembic_version"), strict=True):
        found = MigrationContext.configure(connection, opts={"version_table": table}).get_current_heads()
        counts.append(_pending(ScriptDirectory.from_config(config), found))
    return State(not inspect(connection).get_table_names(), (counts[0], counts[1]))


def _pending(scripts: ScriptDirectory, found: tuple[str, ...]) -> int:
    """How many revisions are to come; none for a database that a newer release has migrated."""
    known = {script.revision for script in scripts.walk_revisions()}
    if not set(found) <= known:
        return 0
    return sum(1 for _ in scripts.iterate_revisions("heads", found[0] if found else "base"))


# What the two env.py files share.


def _only_security(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    return kind != "table" or item.key in SECURITY_TABLES


def _not_security(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    return kind != "table" or item.key not in SECURITY_TABLES | {SECURITY_VERSIONS}


def _render(kind: str, item: Any, autogenerate: Any) -> str | bool:
    return "sa.DateTime(timezone=True)" if isinstance(item, UtcDateTime) else False


def run_security_chain() -> None:
    _run(Base.metadata, include_object=_only_security, version_table=SECURITY_VERSIONS)


def run_your_chain(metadata: MetaData) -> None:
    """Your tables: ours can be referenced, and are never created, changed or dropped by your revisions."""
    _run(metadata, before=_require_security, include_object=_not_security)


def _run(metadata: MetaData, before: Callable[[Connection], None] | None = None, **options: Any) -> None:
    options |= {"target_metadata": metadata, "render_as_batch": True, "render_item": _render}

    def run(connection: Connection | None = None, **offline: Any) -> None:
        context.configure(connection=connection, **options, **offline)
        with context.begin_transaction():
            context.run_migrations()

    if context.is_offline_mode():
        run(url=migration_url(), literal_binds=True, dialect_opts={"paramstyle": "named"})
    elif (given := context.config.attributes.get("connection")) is not None:
        run(given)
    else:
        asyncio.run(_from_command_line(run, before))


async def _from_command_line(run: Callable[[Connection], None], before: Callable[[Connection], None] | None) -> None:
    logging.basicConfig(format="%(levelname)s  %(message)s")
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    async with new_engine().connect() as connection:
        if before is not None:
            await connection.run_sync(before)
        await connection.run_sync(run)


def _require_security(connection: Connection) -> None:
    """On an empty database your tables would be half-made: a clear refusal instead."""
    if getattr(context.config.cmd_opts, "cmd", [None])[0] is command.current:
        return
    versions = MigrationContext.configure(connection, opts={"version_table": SECURITY_VERSIONS})
    found = versions.get_current_heads()
    connection.rollback()  # or Alembic sees an outer transaction and never commits
    if set(found) != set(ScriptDirectory.from_config(configs()[0]).get_heads()):
        raise CommandError("The security tables are not up to date: run `uv run manage migrate` first.")
