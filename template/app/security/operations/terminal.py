"""What commands share: one transaction, and plain words for what went wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import typer
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.database import Database
from app.security.access.accounts import AccountExists, BadName, UnknownAccount
from app.security.core import logs
from app.security.core.events import NotRecorded

NOT_RECORDED = "The audit log cannot take this change, so it was not made: run `uv run manage audit verify`."
NOT_READY = "The database is not ready: run `uv run manage migrate`, or see `uv run manage doctor`."
T = TypeVar("T")


def run(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Do this in one transaction; what the person at the terminal did wrong is one line and exit code 1."""

    logs.to_stderr()  # stdout is for what was asked for

    async def transaction() -> T:
        database = Database()
        try:
            await reach(database.engine, "DATABASE_URL")
            async with database.begin() as db:
                return await work(db)
        finally:
            await database.close()

    try:
        return asyncio.run(transaction())
    except UnknownAccount:
        fail("Nobody has this name.")
    except AccountExists:
        fail("There is an account of this name already.")
    except BadName:
        fail("A name has 1 to 254 printable characters, and no space around them.")
    except NotRecorded:
        fail(NOT_RECORDED)
    except (OperationalError, ProgrammingError, OSError):  # no such table, most often
        fail(NOT_READY)


async def reach(engine: AsyncEngine, variable: str) -> None:
    """Connect once, so that a lost database is never taken for a missing table."""
    try:
        async with engine.connect():
            pass
    except Exception as error:  # whatever the driver says, it may hold the address
        fail(f"The database cannot be reached ({await kind_of(error)}): check {variable}.")


async def kind_of(error: Exception) -> str:
    """The name of what a database said, of the driver's own error where SQLAlchemy stands in for it."""
    await asyncio.sleep(0.1)  # aiosqlite's thread tells this loop that it ends, and fails when the loop is closed
    return type(getattr(error, "driver_exception", None) or error).__name__


def fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
