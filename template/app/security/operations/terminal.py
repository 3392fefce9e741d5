"""Runs the commands of `manage`: each is one transaction, and an error is one line with exit code 1."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

import typer
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.database import Database, DatabaseSettings
from app.security.access.accounts import AccountError
from app.security.core import logs, settings
from app.security.http.errors import code_of

NOT_ALLOWED = "This role of the database may not do that: run it with the owner's address as DATABASE_URL."
NOT_READY = "The database is not ready: run `uv run manage migrate`, or see `uv run manage doctor`."
T = TypeVar("T")


def command(work: Callable[..., Awaitable[str]]) -> Callable[..., None]:
    """The command for `async def work(db, …)`: its other parameters are typed in, its result is printed."""
    parameters = list(inspect.signature(work).parameters.values())

    @wraps(work)
    def typed(*args: Any, **kwargs: Any) -> None:
        if result := run(lambda db: work(db, *args, **kwargs)):
            typer.echo(result)

    typed.__signature__ = inspect.Signature(parameters[1:])  # type: ignore[attr-defined]  # typer reads it
    return typed


def run(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Do this in one transaction. Raises: typer.Exit, after one line on stderr."""
    logs.to_stderr()  # stdout is for the result

    async def transaction() -> T:
        database = Database()
        try:
            await reach(database.engine)
            async with database.begin() as db:
                return await work(db)
        finally:
            await database.close()

    try:
        return asyncio.run(transaction())
    except AccountError as error:
        fail(error.detail)
    except (OperationalError, ProgrammingError, OSError) as error:  # most often: no such table
        denied = code_of(error) == "42501"  # insufficient_privilege
        fail(NOT_ALLOWED if denied else getattr(error, "advice", NOT_READY))


async def reach(engine: AsyncEngine) -> None:
    """Connect once, so that a lost database is never mistaken for a missing table. A working copy has its `.env`."""
    is_intended = DatabaseSettings.current().allow_sqlite_in_production or (settings.ROOT / ".env").exists()
    if engine.dialect.name == "sqlite" and settings.in_production() and not is_intended:
        settings.refuse(settings.problems())  # a server without settings would get an empty database beside the code
    try:
        async with engine.connect():
            pass
    except Exception as error:  # the driver's message may hold the address
        fail(f"The database cannot be reached ({await kind_of(error)}): check (MIGRATION_)DATABASE_URL.")


async def kind_of(error: Exception) -> str:
    """The class of a database error, or of the driver's error inside it."""
    await asyncio.sleep(0.1)  # aiosqlite's thread still reports to this event loop, and fails when it is closed
    return type(getattr(error, "driver_exception", None) or error).__name__


def fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
