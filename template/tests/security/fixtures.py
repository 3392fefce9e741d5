"""Fixtures for the tests of this project, yours too.

`client` calls the app as nobody, `as_caller(scope="notes:read")` as somebody who is known. Each test has a database of
its own: SQLite, or the PostgreSQL that TEST_DATABASE_URL names (its tables are emptied for each test).
"""

import asyncio
import gc
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.core import settings

POSTGRES = os.environ.get("TEST_DATABASE_URL")
# How callers say who they are is a feature each; the tests of one come with it.
PLUGINS = ("callers", "persons", "programs", "terminal")
HERE = Path(__file__).parent
pytest_plugins = [f"tests.security.{name}" for name in PLUGINS if (HERE / f"{name}.py").exists()]
SCRATCH = Path(tempfile.mkdtemp(prefix="service-tests-"))
T = TypeVar("T")

# Nothing of the developer's own configuration reaches a test: not the .env, and no variable that we read.
settings.env_file = None
BASE_ENVIRONMENT = {
    "FASTAPI_ENV": "development",
    "SECRET_KEY": secrets.token_hex(64),
    "DATABASE_URL": POSTGRES or f"sqlite:///{SCRATCH / 'import.sqlite3'}",
}
PRODUCTION_ENVIRONMENT = {
    "FASTAPI_ENV": "production",
    "PUBLIC_BASE_URL": "https://api.example.com",
    "TRUSTED_HOSTS": "api.example.com",
    "ALLOW_SQLITE_IN_PRODUCTION": "true",
}
for pattern, variables in {"development_*.py": BASE_ENVIRONMENT, "production_*.py": PRODUCTION_ENVIRONMENT}.items():
    for path in HERE.glob(f"*/{pattern}"):  # what a feature needs beside these
        variables |= import_module(f"{__package__}.{path.parent.name}.{path.stem}").VARIABLES
os.environ.update(BASE_ENVIRONMENT)

try:
    from app.main import app, create_app
except SystemExit:  # its reason is printed
    pytest.exit('Tests read no .env: write os.environ["NAME"] = "…" in tests/conftest.py, above pytest_plugins', 78)
from app.security.core import logs  # noqa: E402
from app.security.operations import migrations, start_up  # noqa: E402

BuildApp = Callable[[], FastAPI]


class MakeClient(Protocol):
    def __call__(
        self,
        app: FastAPI | None = None,
        *,
        build: BuildApp = ...,
        address: str = ...,
        production: bool = ...,
        **environment: str,
    ) -> TestClient: ...


def pytest_sessionstart() -> None:
    """Without secure(app) nearly every test would fail, for the same reason."""
    if "layers" not in app.state:
        pytest.exit(start_up.NOT_SECURED, returncode=1)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what lives as long as the run: a tenth of the time."""
    gc.collect()
    gc.freeze()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run this to its end, in a thread: an `async def` test has an event loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture
def anyio_backend() -> str:
    """What `@pytest.mark.anyio` runs `async def` tests on."""
    return "asyncio"


@pytest.fixture(scope="session")
def migrated_database() -> Path:
    """A database with every table and no row: a file to copy, or PostgreSQL itself."""
    path = SCRATCH / "migrated.sqlite3"
    os.environ["DATABASE_URL"] = POSTGRES or f"sqlite:///{path}"
    settings.forget()
    run(migrations.migrate())
    if not POSTGRES:
        with sqlite3.connect(path) as connection:  # so that the one file holds everything
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    return path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, migrated_database: Path) -> Iterator[Callable[..., None]]:
    """Set variables for this test: `environment(AUTH_CACHE_SECONDS="0")`."""
    monkeypatch.setattr(logs.Output, "to_stderr", False)  # a command sets it: put it back afterwards
    path = SCRATCH / f"{secrets.token_hex(8)}.sqlite3"
    if POSTGRES:
        run(_empty_tables())
    else:
        shutil.copy(migrated_database, path)

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.forget()

    change(**BASE_ENVIRONMENT | ({} if POSTGRES else {"DATABASE_URL": f"sqlite:///{path}"}))
    yield change
    settings.forget()
    for left in SCRATCH.glob(f"{path.name}*"):
        left.unlink()


async def _empty_tables() -> None:
    from app.database import Base, Database, DatabaseSettings

    os.environ["DATABASE_URL"] = str(POSTGRES)
    settings.forget()
    database = Database(DatabaseSettings.current())
    async with database.engine.begin() as connection:
        names = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        await connection.execute(text(f"TRUNCATE {names} CASCADE"))
    await database.close()


@pytest.fixture
def make_client(environment: Callable[..., None], request: pytest.FixtureRequest) -> MakeClient:
    """A client of an app with other settings: `make_client(production=True, AUTH_CACHE_SECONDS="0")`.

    `build` makes the app, where it is not yours. Given an app that it made before, it is another caller of the same
    app, from another address.
    """

    def make(
        app: FastAPI | None = None,
        *,
        build: BuildApp = create_app,
        address: str = "127.0.0.1",
        production: bool = False,
        **variables: str,
    ) -> TestClient:
        if app is None:
            environment(**(PRODUCTION_ENVIRONMENT if production else {}) | variables)
            app = build()
        host = "https://api.example.com" if production else "http://localhost"
        client = TestClient(app, base_url=host, client=(address, 50000), raise_server_exceptions=False)
        running: TestClient | None = getattr(app.state, "test_client", None)
        if running is None:
            client.__enter__()
            request.addfinalizer(lambda: client.__exit__(None, None, None))
            app.state.test_client = client
        else:
            client.portal = running.portal  # one event loop for one app
        return client

    return make


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """Calls the app as nobody in particular."""
    return make_client()


class Database:
    """Reads and writes rows of a running app: `database.rows("INSERT INTO …")`."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def run(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Do this in a transaction of its own, in the app's event loop."""

        async def transaction() -> T:
            async with self._client.app.state.database.begin() as session:  # type: ignore[attr-defined]
                return await work(session)

        assert self._client.portal is not None
        return self._client.portal.call(transaction)

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a SELECT; for any other statement none."""

        async def execute(session: AsyncSession) -> list[tuple[Any, ...]]:
            result = await session.execute(text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []  # type: ignore[attr-defined]

        return self.run(execute)


@pytest.fixture
def database(client: TestClient) -> Database:
    return Database(client)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every event that is written from here on, as its fields."""
    found: list[dict[str, Any]] = []
    write = logs.write

    def keep(fields: dict[str, Any]) -> None:
        found.append(dict(fields))
        write(fields)

    monkeypatch.setattr(logs, "write", keep)
    return found
