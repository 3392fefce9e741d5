"""`manage users …`: the first person, invitations, and who may log in. A password is asked for, never an argument."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access import accounts
from app.security.access.accounts import UnknownAccount
from app.security.administration import invitations
from app.security.authentication import throttle as login_throttle
from app.security.authentication.passwords import PasswordHasher, PasswordSettings, WeakPassword
from app.security.core import events
from app.security.core.events import Event
from app.security.core.tables import UNUSABLE_PASSWORD, Account
from app.security.operations.terminal import fail, run

Name = Annotated[str, typer.Argument(help="The name to log in with, such as an e-mail address.")]


def _ask_password(name: str) -> str:
    """A good new password, typed twice, as its hash."""
    chosen = PasswordSettings.current()
    asked = f"Password ({chosen.minimum_length} characters or more)"
    password = typer.prompt(asked, hide_input=True, confirmation_prompt="Repeat it")
    hasher = PasswordHasher(chosen)

    async def judged_hash() -> str:
        await hasher.judge(password, name)
        return await hasher.hash(password)

    try:
        return asyncio.run(judged_hash())
    except WeakPassword as weak:
        fail(str(weak))


def _check_roles(roles: list[str], known: Iterable[str]) -> None:
    unknown = [role for role in roles if role not in known]
    if unknown:
        fail(f"The roles of this project: {', '.join(known) or 'none'}.")


def commands(known_roles: Sequence[str] = (), first_roles: frozenset[str] = frozenset()) -> typer.Typer:
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
        run(lambda db: accounts.create(db, name, password_hash=password_hash, roles=chosen))
        typer.echo(f"Created {name}.")

    @users.command()
    def invite(
        name: Name, role: Annotated[list[str] | None, typer.Option(help="A role, for a new person.")] = None
    ) -> None:
        """Print a one-time token to set a password with; for a new person, or a forgotten password."""
        _check_roles(role or [], known_roles)
        chosen = first_roles if role is None else role
        typer.echo(run(lambda db: _invite(db, name, chosen)))
        typer.echo("It sets a password at POST /auth/activate, once, within 24 hours.", err=True)

    if known_roles:
        users.command("roles")(_roles(known_roles))
    users.command("list")(_list)
    for command in (disable, enable, unlock, end_sessions):
        users.command()(command)
    return users


def _roles(known: Sequence[str]) -> Callable[[str, list[str]], None]:
    def roles(name: Name, role: Annotated[list[str], typer.Option(help="A role; may be repeated.")]) -> None:
        """Give a person these roles and no others; nothing stops you from taking the last administrator's."""
        _check_roles(role, known)
        typer.echo(run(lambda db: _set_roles(db, name, role)))

    return roles


def _list() -> None:
    """Everyone who may log in."""
    for line in run(_lines):
        typer.echo(line)


def disable(name: Name) -> None:
    """End every session of a person, and let nobody log in as them."""
    typer.echo(f"Disabled {run(lambda db: _set_active(db, name, False))}.")


def enable(name: Name) -> None:
    """Let a disabled person log in again."""
    typer.echo(f"Enabled {run(lambda db: _set_active(db, name, True))}.")


def unlock(name: Name) -> None:
    """Forget the failed log-ins of a person."""
    typer.echo(f"Unlocked {run(lambda db: _unlock(db, name))}.")


def end_sessions(
    name: Annotated[str | None, typer.Argument(help="The name to log in with.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of everybody.")] = False,
) -> None:
    """End every session of a person, or with --all of everybody: who may log in has to log in again."""
    if every == (name is not None):
        raise typer.BadParameter("name one person, or everybody with --all")
    typer.echo(f"Ended every session of {run(lambda db: _end_sessions(db, name))}.")


async def _invite(db: AsyncSession, name: str, roles: Iterable[str]) -> str:
    try:
        account = await accounts.by_name(db, name)
    except UnknownAccount:
        account = await accounts.create(db, name, roles=roles)
    if account.kind != "person":
        fail("This is a service account: it has keys and no password.")
    return await invitations.invite(db, account)


async def _lines(db: AsyncSession) -> list[str]:
    people = await db.scalars(select(Account).where(Account.kind == "person").order_by(Account.login))
    return [await _line(db, person) for person in people]


async def _line(db: AsyncSession, person: Account) -> str:
    waiting = person.password_hash == UNUSABLE_PASSWORD
    state = "disabled" if not person.is_active else "invited" if waiting else "active"
    roles = ", ".join(sorted(await accounts.roles_of(db, person.id)))
    return f"{person.name:<40} {state:<10} {roles}".rstrip()


async def _set_roles(db: AsyncSession, name: str, roles: list[str]) -> str:
    account = await accounts.by_name(db, name)
    if account.kind != "person":
        fail("This is a service account: what its keys may do is in their scopes.")
    before, _, after = (await accounts.set_roles(db, account.id, roles)).partition("->")
    return f"Roles of {account.name}: {after} (before: {before or 'none'})."


async def _set_active(db: AsyncSession, name: str, active: bool) -> str:
    account = await accounts.by_name(db, name)
    await accounts.set_active(db, account, active)
    return account.name


async def _end_sessions(db: AsyncSession, name: str | None) -> str:
    whose, subject = "everybody", "everybody"
    if name is None:
        await accounts.end_every_session(db)
    else:
        account = await accounts.by_name(db, name)
        if account.kind != "person":
            fail("This is a service account: it has keys and no sessions.")
        await db.refresh(account, with_for_update=True)  # a log-in that is under way is waited for
        await accounts.end_sessions(db, account.id)
        whose, subject = account.name, str(account.id)
    events.record_change(db, Event.USER_UPDATED, subject=subject, reason="sessions_ended")
    return whose


async def _unlock(db: AsyncSession, name: str) -> str:
    account = await accounts.by_name(db, name)
    await login_throttle.unlock(db, account.name)
    events.record_change(db, Event.USER_UPDATED, subject=account.id, reason="unlocked")
    return account.name
