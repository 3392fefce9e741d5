"""`manage users …`: the first person, invitations, and who may log in. A password is asked for, never an argument."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, NoReturn, TypeVar

import typer
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database
from app.security import accounts, events, login_throttle, logs
from app.security.accounts import AccountExists, BadName, UnknownAccount
from app.security.events import Event
from app.security.passwords import PasswordHasher, PasswordSettings, WeakPassword
from app.security.project import SLUG
from app.security.tables import UNUSABLE_PASSWORD, Account

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The name to log in with, such as an e-mail address.")]


def _run(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Do this in one transaction; what the person at the terminal did wrong is one line and exit code 1."""

    logs.to_stderr()  # stdout is for what was asked for

    async def transaction() -> T:
        database = Database()
        try:
            async with database.begin() as db:
                return await work(db)
        finally:
            await database.close()

    try:
        return asyncio.run(transaction())
    except UnknownAccount:
        _fail("Nobody has this name.")
    except AccountExists:
        _fail("There is an account of this name already.")
    except BadName:
        _fail("A name has 1 to 254 printable characters, and no space around them.")
    except (OperationalError, ProgrammingError, ConnectionError):  # no such table, or no such server
        _fail("The database is not ready: run `uv run manage migrate`, or see `uv run manage doctor`.")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _ask_password(name: str) -> str:
    """A good new password, typed twice, as its hash."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    hasher = PasswordHasher(PasswordSettings.current(), (SLUG,))

    async def judged_hash() -> str:
        await hasher.judge(password, name)
        return await hasher.hash(password)

    try:
        return asyncio.run(judged_hash())
    except WeakPassword as weak:
        _fail(str(weak))


def _check_roles(roles: list[str], known: list[str]) -> None:
    unknown = [role for role in roles if role not in known]
    if unknown:
        _fail(f"The roles of this project: {', '.join(known) or 'none'}.")


def commands(known_roles: list[str], first_roles: frozenset[str]) -> typer.Typer:
    """The commands of a project with these roles; a new person gets the first ones unless others are named."""
    users = typer.Typer(no_args_is_help=True)

    @users.command()
    def create(
        name: Name, role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None
    ) -> None:
        """Create a person; asks for the password."""
        _check_roles(role or [], known_roles)
        password_hash = _ask_password(name)
        chosen = first_roles if role is None else role
        _run(lambda db: accounts.create(db, name, password_hash=password_hash, roles=chosen))
        typer.echo(f"Created {name}.")

    @users.command()
    def invite(
        name: Name, role: Annotated[list[str] | None, typer.Option(help="A role, for a new person.")] = None
    ) -> None:
        """Print a one-time token to set a password with; for a new person, or a forgotten password."""
        _check_roles(role or [], known_roles)
        chosen = first_roles if role is None else role
        typer.echo(_run(lambda db: _invite(db, name, chosen)))
        typer.echo("It sets a password at POST /auth/activate, once, within 24 hours.", err=True)

    users.command("list")(_list)
    for command in (disable, enable, unlock):
        users.command()(command)
    return users


def _list() -> None:
    """Everyone who may log in."""
    for line in _run(_lines):
        typer.echo(line)


def disable(name: Name) -> None:
    """End every session of a person, and let nobody log in as them."""
    _run(lambda db: _set_active(db, name, False))


def enable(name: Name) -> None:
    """Let a disabled person log in again."""
    _run(lambda db: _set_active(db, name, True))


def unlock(name: Name) -> None:
    """Forget the failed log-ins of a person."""
    _run(lambda db: _unlock(db, name))


async def _invite(db: AsyncSession, name: str, roles: Iterable[str]) -> str:
    try:
        account = await accounts.by_name(db, name)
    except UnknownAccount:
        account = await accounts.create(db, name, roles=roles)
    return await accounts.invite(db, account)


async def _lines(db: AsyncSession) -> list[str]:
    people = await db.scalars(select(Account).where(Account.kind == "person").order_by(Account.login))
    return [await _line(db, person) for person in people]


async def _line(db: AsyncSession, person: Account) -> str:
    waiting = person.password_hash == UNUSABLE_PASSWORD
    state = "disabled" if not person.is_active else "invited" if waiting else "active"
    roles = ", ".join(sorted(await accounts.roles_of(db, person.id)))
    return f"{person.name:<40} {state:<10} {roles}".rstrip()


async def _set_active(db: AsyncSession, name: str, active: bool) -> None:
    await accounts.set_active(db, await accounts.by_name(db, name), active)


async def _unlock(db: AsyncSession, name: str) -> None:
    account = await accounts.by_name(db, name)
    await login_throttle.unlock(db, account.name)
    events.record_change(db, Event.USER_UPDATED, subject=account.id, reason="unlocked")
