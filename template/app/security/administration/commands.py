"""`manage users …`: create, invite, list, delete, and end access. A password is asked for, never an argument."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access import accounts
from app.security.administration import self_service
from app.security.authentication import throttle
from app.security.authentication.passwords import PasswordHasher, PasswordSettings
from app.security.core.events import Event, record_change
from app.security.core.tables import UNUSABLE_PASSWORD, Account, OneTimeToken, Session, utc_now
from app.security.operations.terminal import command, fail, run

Name = Annotated[str, typer.Argument(help="The name to log in with, such as an e-mail address.")]
Role = Annotated[list[str] | None, typer.Option(help="A role of a new person; may be repeated.")]


def commands(known_roles: Sequence[str] = (), first_roles: frozenset[str] = frozenset()) -> typer.Typer:
    """The commands of a project with these roles; a new person gets the first ones unless others are named."""
    users = typer.Typer(no_args_is_help=True)

    @users.command()
    def create(name: Name, role: Role = None) -> None:
        """Create a person; asks for the password."""
        _create_person(name, checked_roles(role, known_roles, first_roles))

    async def invite(db: AsyncSession, name: Name, role: Role = None) -> str:
        """Print a one-time token that sets a password. The old password of a disabled person ends at once."""
        roles = checked_roles(role, known_roles, first_roles)
        try:
            account = await person_named(db, name)
        except accounts.UnknownAccount:
            account = await accounts.create(db, name, roles=roles)
        token = await self_service.invite(db, account)
        typer.echo("It sets a password at POST /auth/activate, once, within 24 hours.", err=True)
        return token

    for work in (invite, disable, enable, unlock, end_sessions, withdraw_invitations):
        users.command()(command(work))
    users.command("list")(command(list_people))
    users.command("delete")(delete_person)
    return users


def _create_person(name: str, roles: Iterable[str]) -> None:
    run(AsyncSession.connection)  # before the question: the settings and the database
    settings = PasswordSettings.current()
    prompt = f"Password ({settings.minimum_length} characters or more)"
    password = typer.prompt(prompt, hide_input=True, confirmation_prompt="Repeat it")

    async def add(db: AsyncSession) -> None:
        hasher = PasswordHasher(settings)
        await hasher.check_strength(password, name)
        await accounts.create(db, name, password_hash=await hasher.hash(password), roles=roles)

    run(add)
    typer.echo(f"Created {name}.")


async def list_people(db: AsyncSession) -> str:
    """Everyone who may log in."""
    lines = []
    for person in await db.scalars(select(Account).where(Account.kind == "person").order_by(Account.login)):
        invited = person.password_hash == UNUSABLE_PASSWORD
        state = "disabled" if not person.is_active else "invited" if invited else "active"
        roles = ", ".join(sorted(await accounts.roles_of(db, person.id)))
        lines.append(f"{person.name:<40} {state:<10} {roles}".rstrip())
    return "\n".join(lines)


async def disable(db: AsyncSession, name: Name) -> str:
    """Disable an account and end its sessions. It may take the last administrator."""
    account = await accounts.by_name(db, name)
    await accounts.set_active(db, account, False)
    return f"Disabled {account.name}."


async def enable(db: AsyncSession, name: Name) -> str:
    """Let a disabled account log in again."""
    account = await accounts.by_name(db, name)
    await accounts.set_active(db, account, True)
    return f"Enabled {account.name}."


def delete_person(
    name: Name, yes: Annotated[bool, typer.Option("--yes", help="Delete without a question.")] = False
) -> None:
    """Erase a person with what belongs to them, for good. It may take the last administrator."""
    if not yes:
        typer.confirm(f"Delete {name} and every row that belongs to this account?", abort=True)

    async def erase(db: AsyncSession) -> str:
        account = await person_named(db, name)
        await self_service.delete_account(db, account)
        return f"Deleted {account.name}."

    typer.echo(run(erase))


async def unlock(db: AsyncSession, name: Name) -> str:
    """Forget the failed logins of a person (lockout). An address that guessed waits for up to 15 minutes more."""
    account = await accounts.by_name(db, name)
    await throttle.unlock(db, account.login)
    record_change(db, Event.USER_UPDATED, subject=account.id, reason="unlocked")
    return f"Unlocked {account.name}. An address with five failures waits until they are 15 minutes old."


Everybody = Annotated[bool, typer.Option("--all", help="Of everybody.")]
Somebody = Annotated[str | None, typer.Argument(help="The name to log in with.")]


async def end_sessions(db: AsyncSession, name: Somebody = None, every: Everybody = False) -> str:
    """End every session of a person. With --all of everybody; they have to log in again."""
    person = await _one_or_all(db, name, every)
    await (accounts.end_sessions(db, person.id) if person else end_every_session(db))
    return _recorded(db, person, "sessions_ended", "Ended every session of")


async def withdraw_invitations(db: AsyncSession, name: Somebody = None, every: Everybody = False) -> str:
    """Withdraw the invitations for a person. Also those that this person issued; with --all every invitation."""
    person = await _one_or_all(db, name, every)
    await (accounts.withdraw_invitations(db, person.id) if person else db.execute(delete(OneTimeToken)))
    return _recorded(db, person, "invitations_withdrawn", "Withdrew the invitations of")


async def end_every_session(db: AsyncSession) -> None:
    """End every session, and withdraw what was issued in one. Logins under way hold their account, so commit first."""
    people = select(Account.id).where(Account.kind == "person").order_by(Account.id)
    await db.execute(people.with_for_update())
    await db.execute(update(Session).where(Session.ended_at.is_(None)).values(ended_at=utc_now()))
    await db.execute(delete(OneTimeToken).where(OneTimeToken.issuer_id.is_not(None)))


async def person_named(db: AsyncSession, name: str) -> Account:
    """A person, locked until the transaction ends. Raises: AccountError."""
    account = await accounts.by_name(db, name)
    if account.kind != "person":
        raise accounts.AccountError("This is a service account: it has keys, but no password, sessions or roles.")
    await accounts.lock(db, account.id)
    return account


async def _one_or_all(db: AsyncSession, name: str | None, every: bool) -> Account | None:
    if every == (name is not None):
        raise typer.BadParameter("name one person, or everybody with --all")
    return None if name is None else await person_named(db, name)


def _recorded(db: AsyncSession, person: Account | None, reason: str, done: str) -> str:
    record_change(db, Event.USER_UPDATED, subject=person.id if person else "everybody", reason=reason)
    return f"{done} {person.name if person else 'everybody'}."


def checked_roles(roles: list[str] | None, known: Iterable[str], otherwise: Iterable[str] = ()) -> list[str]:
    if unknown := [role for role in roles or () if role not in known]:
        fail(f"{unknown[0]} is no role of this project. Its roles: {', '.join(known) or 'none'}.")
    return list(otherwise if roles is None else roles)
