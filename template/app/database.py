"""The database: settings, one engine per app, one transaction per request, and the base of every table."""

import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends
from pydantic import Field, SecretStr, field_validator
from sqlalchemy import DateTime, Executable, MetaData, TypeDecorator, Uuid, event
from sqlalchemy.engine import URL, Connection, CursorResult, Dialect, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction
from starlette.requests import HTTPConnection

from app.security.settings import ROOT, CommaSeparated, SecuritySettings

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DRIVER_GRACE_SECONDS = 2.0  # after a statement's time-out the driver gives up on a server that does not respond
# PostgreSQL notices within a minute that a client is gone; by default it keeps the client's locks for two hours.
KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
KINDS = ("before_commit", "after_commit", "errors")  # what a savepoint takes back with it
ROLLED_BACK = "everything is rolled back, so nothing is stored: catch errors of the database around db.begin_nested()"
log = logging.getLogger(__name__)
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg"}


class DatabaseSettings(SecuritySettings):
    """Apart from all others, so that migrations run while those are still missing."""

    database_url: SecretStr = SecretStr(f"sqlite:///{ROOT / 'app.sqlite3'}")
    migration_database_url: SecretStr | None = None  # owner of the schema, beside a least-privilege role
    allow_sqlite_in_production: bool = False
    plaintext_hosts: CommaSeparated = []  # hosts reached without TLS, such as a compose network's "db"
    database_pool_size: int = Field(5, ge=1, le=500)  # connections of one process; twice as many under load
    database_connect_seconds: float = Field(3, gt=0, le=60)  # to get a connection, from the pool or the server
    database_statement_seconds: float = Field(5, gt=0, le=300)  # for one statement; in SQLite for the write lock
    database_idle_seconds: float = Field(60, gt=0, le=3600)  # for a transaction in which nothing happens

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _is_supported(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            connect_arguments(database_url(value))
        return value

    def weaknesses(self) -> list[str]:
        urls = {"DATABASE_URL": self.database_url, "MIGRATION_DATABASE_URL": self.migration_database_url}
        return [
            f"{name}: {reason}" for name, url in urls.items() if url and (reason := self._weakness(database_url(url)))
        ]

    def _weakness(self, url: URL) -> str:
        if url.get_backend_name() == "sqlite":
            reason = "SQLite is for development (ALLOW_SQLITE_IN_PRODUCTION=true)"
            return "" if self.allow_sqlite_in_production else reason
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
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError  # each connection would have a database of its own
    except (ArgumentError, KeyError, ValueError):
        raise ValueError("write sqlite:///path or postgresql://user:password@host/name") from None
    # A host among the parameters would win over the one that is checked.
    if url.get_backend_name() != "sqlite" and not url.query.keys() <= {"sslmode", "sslrootcert"}:
        raise ValueError("only sslmode and sslrootcert may follow the ?")
    if "sslmode" in url.query and url.query["sslmode"] != "verify-full":
        raise ValueError("sslmode is verify-full, which checks the server's name, or left out")
    return url


def connect_arguments(url: URL) -> dict[str, Any]:
    """What the driver needs beside the URL: TLS that checks the server's name. Raises: ValueError."""
    arguments: dict[str, Any] = {} if url.get_backend_name() == "sqlite" else {"server_settings": dict(KEEPALIVES)}
    if url.query.get("sslmode") == "verify-full":
        try:
            arguments["ssl"] = ssl.create_default_context(cafile=url.query.get("sslrootcert"))  # type: ignore[arg-type]
        except (OSError, TypeError):  # no such file, no certificate in it, or named twice
            raise ValueError("the file of sslrootcert cannot be read, or holds no certificate") from None
    return arguments


def sqlite_files(url: URL) -> list[Path]:
    """The file of an SQLite database, and its journals; none for any other database."""
    name = url.database or ":memory:"
    if url.get_backend_name() != "sqlite" or name.startswith((":memory:", "file:")):
        return []
    return [Path(f"{name}{suffix}") for suffix in ("", "-wal", "-shm")]


class HasNul(ValueError):
    """PostgreSQL stores no NUL in a text."""

    sqlstate = "22021"  # character_not_in_repertoire


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC (SQLite would forget the zone). One without a zone counts as UTC.

    In the bodies of routes write `AwareDatetime` of pydantic, so that the client names its zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))

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


def create_engine(url: URL, connect_args: dict[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """An engine without time-outs of its own. It keeps SQLite's files private: they hold hashes and names."""
    arguments = connect_arguments(url) | (connect_args or {})
    address = url.difference_update_query(["sslmode", "sslrootcert"])
    engine = create_async_engine(address, connect_args=arguments, hide_parameters=True, **options)

    def make_private(*_: object) -> None:
        for number, path in enumerate(sqlite_files(url)):
            with contextlib.suppress(OSError):  # connecting will report what is wrong
                if number == 0:
                    path.touch(mode=0o600)  # a new journal takes over the mode of its database
                path.chmod(0o600)

    event.listen(engine.sync_engine, "do_connect", make_private)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # we write BEGIN ourselves
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _refuse_nul(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
    """What SQLite stored, PostgreSQL would refuse. Raises: HasNul."""
    rows = parameters if executemany and isinstance(parameters, list) else [parameters]  # INSERT of many: one tuple
    if any(isinstance(value, str) and "\0" in value for row in rows for value in row):
        raise HasNul


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails with "database is locked" under parallel writers.
    if not connection.get_execution_options().get("single_statement", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _service_engine(settings: DatabaseSettings) -> AsyncEngine:
    """The engine of a running service: a bounded connection pool, and a time-out for everything that can wait."""
    url = database_url(settings.database_url)
    size, wait = settings.database_pool_size, settings.database_connect_seconds
    pool: dict[str, Any] = {"pool_size": size, "max_overflow": size, "pool_timeout": wait}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, {"timeout": settings.database_statement_seconds}, **pool)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        event.listen(engine.sync_engine, "before_cursor_execute", _refuse_nul)
        return engine
    limits = {
        "statement_timeout": f"{settings.database_statement_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{settings.database_idle_seconds * 1000:.0f}",
    }
    arguments = {
        "timeout": wait,
        "command_timeout": settings.database_statement_seconds + DRIVER_GRACE_SECONDS,
        "server_settings": KEEPALIVES | limits,
    }
    return create_engine(url, arguments, **pool)


def _note_error(context: ExceptionContext) -> None:
    """PostgreSQL has undone the transaction then, and would roll back in silence where it is to commit."""
    if context.connection is not None and "session_info" in (options := context.connection.get_execution_options()):
        options["session_info"].setdefault("errors", []).append(context.original_exception)


@event.listens_for(Session, "after_begin")
def _note_session(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    connection.execution_options(session_info=session.info)


@event.listens_for(Session, "after_transaction_create")
def _remember(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        session.info[transaction] = {name: len(session.info.get(name, ())) for name in KINDS}


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    """What a savepoint undid has no row in the audit log, and no event."""
    while transaction.parent is not None and not transaction.nested:  # a flush failed in it
        transaction = transaction.parent
    for name, number in session.info.get(transaction, {}).items():
        del session.info.get(name, [])[number:]


class Transaction(AsyncSession):
    """The session of one transaction. `flush()` sends what was changed, and shows what a database would refuse."""

    async def commit(self) -> None:
        """Raises: InvalidRequestError: it would store a change without its audit row, and keep callers cached."""
        raise InvalidRequestError("a transaction commits itself at its end: write flush(), not commit()")


class Database:
    """The engine of one app. `async with database.begin() as db:` is a transaction outside a request."""

    def __init__(self, settings: DatabaseSettings | None = None) -> None:
        self.engine = _service_engine(settings or DatabaseSettings.current())
        event.listen(self.engine.sync_engine, "handle_error", _note_error)
        is_sqlite = self.engine.dialect.name == "sqlite"
        alone = {"single_statement": True} if is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._single_statements = self.engine.execution_options(**alone)
        # Without close_resets_only=False, a closed session silently begins a transaction that is never committed.
        self._sessions = async_sessionmaker(
            self.engine, class_=Transaction, expire_on_commit=False, close_resets_only=False
        )

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back on any exception. The session cannot be used afterwards."""
        async with self._sessions() as session:
            async with session.begin() as transaction:
                yield session
                if (errors := session.info.get("errors")) or not transaction.is_active:
                    raise InvalidRequestError(ROLLED_BACK) from (errors[0] if errors else None)
                for prepare in session.info.get("before_commit", ()):
                    await prepare()
            for action in session.info.get("after_commit", ()):
                try:
                    action()
                except Exception:  # the change is committed: others, such as a revocation, must follow
                    log.exception("an action after a commit failed")

    def read(self) -> AsyncConnection:
        """A connection for single SELECT statements, to enter: without a transaction, so it waits for no writer."""
        return self._single_statements.connect()

    async def close(self) -> None:
        await self.engine.dispose()


def before_commit(session: AsyncSession, action: Callable[[], Awaitable[None]]) -> None:
    """Run this at the end of the session's transaction; if it raises, everything is rolled back."""
    session.info.setdefault("before_commit", []).append(action)


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Run this after the session's transaction is committed, and never if it is rolled back."""
    session.info.setdefault("after_commit", []).append(action)


async def changed_rows(session: AsyncSession, statement: Executable) -> int:
    """Execute an UPDATE or DELETE and return its row count: of two at once, one changes the row."""
    return cast(CursorResult[Any], await session.execute(statement)).rowcount


async def session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    if connection.scope["type"] == "websocket":
        raise InvalidRequestError("a socket would keep a connection while it is open: write Database.begin()")
    async with connection.state.database.begin() as session:
        yield session


DbSession = Annotated[AsyncSession, Depends(session, scope="function")]
"""The transaction of a request, committed before the response is sent, so a failing commit is never a 2xx.

An error of the database has undone all of it: catch it around `async with db.begin_nested():`, which undoes its part.
A background task or a stream runs later: it opens its own with `async with request.app.state.database.begin() as db:`.
"""
