"""One engine, one session a request, and the base of every table."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import SecretStr, field_validator
from sqlalchemy import (
    URL,
    Connection,
    CursorResult,
    DateTime,
    Dialect,
    Executable,
    MetaData,
    TypeDecorator,
    Uuid,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from starlette.requests import HTTPConnection

from app.security.settings import ROOT, CommaSeparated, SecuritySettings

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SILENT_SECONDS = 7.0  # then the driver gives up: a server that is frozen does not end a statement itself
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg"}


class DatabaseSettings(SecuritySettings):
    """All that migrations need, too: they never wait for the rest of the settings to be right."""

    database_url: SecretStr = SecretStr(f"sqlite:///{ROOT / 'app.sqlite3'}")
    migration_database_url: SecretStr | None = None  # the role that owns the schema; default: the same
    allow_sqlite_in_production: bool = False
    plaintext_hosts: CommaSeparated = []  # hosts reached without TLS, such as a compose network's "db"

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _is_supported(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            engine_options(database_url(value))
        return value

    def weaknesses(self) -> list[str]:
        urls = {"DATABASE_URL": self.database_url, "MIGRATION_DATABASE_URL": self.migration_database_url}
        return [
            f"{name}: {reason}" for name, url in urls.items() if url and (reason := self._weakness(database_url(url)))
        ]

    def _weakness(self, url: URL) -> str:
        if url.get_backend_name() == "sqlite":
            return "" if self.allow_sqlite_in_production else "SQLite is for development (ALLOW_SQLITE_IN_PRODUCTION)"
        if url.host in (*LOOPBACK, *self.plaintext_hosts) or url.query.get("sslmode") == "verify-full":
            return ""
        return "needs sslmode=verify-full, or its host among PLAINTEXT_HOSTS"


def database_url(secret: SecretStr) -> URL:
    """The URL with our driver for its database.

    Raises: ValueError, which never quotes the URL.
    """
    try:
        url = make_url(secret.get_secret_value())
        url = url.set(drivername=DRIVERS[url.drivername.partition("+")[0]])
    except (ArgumentError, KeyError, ValueError):
        raise ValueError("write sqlite:///path or postgresql://user:password@host/name") from None
    # A host among the parameters would win over the one that is checked.
    if url.get_backend_name() != "sqlite" and not url.query.keys() <= {"sslmode", "sslrootcert"}:
        raise ValueError("takes sslmode and sslrootcert alone after its ?")
    return url


def engine_options(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL and the driver's arguments: bounded waiting, TLS that checks the server's name. Raises: ValueError."""
    if url.get_backend_name() == "sqlite":
        return url, {"timeout": 5}
    arguments: dict[str, Any] = {"timeout": 3, "command_timeout": SILENT_SECONDS}
    arguments["server_settings"] = {"statement_timeout": "5000"}
    if url.query.get("sslmode") == "verify-full":
        try:
            arguments["ssl"] = ssl.create_default_context(cafile=url.query.get("sslrootcert"))  # type: ignore[arg-type]
        except (OSError, TypeError):  # not there, no certificate, or named twice
            raise ValueError("the file of sslrootcert cannot be read, or is none") from None
    return url.difference_update_query(["sslmode", "sslrootcert"]), arguments


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC (SQLite would forget the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, UUID: Uuid}


def create_engine(url: URL, **options: Any) -> AsyncEngine:
    url, arguments = engine_options(url)
    engine = create_async_engine(url, connect_args=arguments, hide_parameters=True, **options)
    if url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # we write BEGIN ourselves
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails with "database is locked" under parallel writers.
    if not connection.get_execution_options().get("single_statement", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Database:
    """The engine of one app. `async with database.begin() as db:` is a transaction outside a request."""

    def __init__(self, settings: DatabaseSettings | None = None) -> None:
        url = database_url((settings or DatabaseSettings.current()).database_url)
        self.engine = create_engine(url, pool_size=5, max_overflow=5, pool_timeout=3, pool_pre_ping=False)
        alone = {"single_statement": True} if url.get_backend_name() == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
        self._looking_up = self.engine.execution_options(**alone)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Commit at the end, roll back on any exception; around it, do what `before_commit` and `after_commit` hold."""
        async with self._sessions() as session:
            async with session.begin():
                yield session
                for prepare in session.info.get("before_commit", ()):
                    await prepare()
            for action in session.info.get("after_commit", ()):
                action()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for look-ups of one statement each: no transaction, so it waits for no writer."""
        async with self._looking_up.connect() as connection:
            yield connection

    async def close(self) -> None:
        await self.engine.dispose()


def before_commit(session: AsyncSession, action: Callable[[], Awaitable[None]]) -> None:
    """Do this as the last part of the session's transaction; when it raises, all is rolled back."""
    session.info.setdefault("before_commit", []).append(action)


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Do this once the session's transaction is committed, and never if it is rolled back."""
    session.info.setdefault("after_commit", []).append(action)


async def changed_rows(session: AsyncSession, statement: Executable) -> int:
    """Execute an UPDATE or DELETE, and say how many rows it met: of two at once, one meets the row."""
    return cast(CursorResult[Any], await session.execute(statement)).rowcount


async def _session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    database: Database = connection.state.database
    async with database.begin() as session:
        yield session


DbSession = Annotated[AsyncSession, Depends(_session, scope="function")]
"""The transaction of a request: committed before the answer is sent, so a failing commit is never a 2xx."""


async def on_end(app: FastAPI) -> None:
    await app.state.database.close()
