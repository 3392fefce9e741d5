"""`manage keys …`: API keys of service accounts. The key is printed once, alone on stdout."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, NoReturn
from uuid import UUID

import typer
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access import accounts
from app.security.access.accounts import UnknownAccount
from app.security.core.settings import Environment, environment, problems
from app.security.core.tables import Account, ApiKey
from app.security.keys import store as key_store
from app.security.keys.store import DEFAULT_DAYS, LONGEST_DAYS, LONGEST_NAME, KeyGone, NewKey, TooManyKeys, is_live
from app.security.operations.terminal import fail, run

KnownScopes = Callable[[], list[str]]
AccountName = Annotated[str, typer.Option(help="The service account, such as billing.")]
KeyId = Annotated[UUID, typer.Argument(help="The id that `manage keys list --account …` shows.")]


def commands(known_scopes: KnownScopes) -> typer.Typer:
    """The commands of an app whose routes ask for these scopes."""
    keys = typer.Typer(no_args_is_help=True)

    @keys.command()
    def issue(
        account: AccountName,
        scope: Annotated[list[str], typer.Option(help="What the key may do; may be repeated.")],
        name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
        days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="How long it lives.")] = DEFAULT_DAYS,
    ) -> None:
        """Print a new key of a service account; an account that is not there yet is made."""
        _check(name, scope, known_scopes())
        _print(run(lambda db: _issue(db, account, name, scope, timedelta(days=days))))

    keys.command("list")(_list)
    for command in (rotate, revoke, disable, enable):
        keys.command()(command)
    return keys


def _list(
    account: Annotated[str | None, typer.Option(help="An account; without one, every service account.")] = None,
) -> None:
    """The live keys of an account, or every service account with the number of its live keys."""
    for line in run(lambda db: _accounts(db) if account is None else _lines(db, account)):
        typer.echo(line)


def rotate(
    account: AccountName,
    key: KeyId,
    overlap_hours: Annotated[int, typer.Option(min=0, max=24, help="How long the old key goes on.")] = 24,
) -> None:
    """Print a successor of a key; the old one ends after the overlap."""
    _print(run(lambda db: _rotate(db, account, key, timedelta(hours=overlap_hours))))


def revoke(
    account: AccountName,
    key: Annotated[UUID | None, typer.Argument(help="Its id, as `manage keys list --account …` shows it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every key of the account.")] = False,
) -> None:
    """End a key, or with --all every key of an account, at once."""
    if every == (key is not None):
        raise typer.BadParameter("name one key by its id, or every key of the account with --all")
    typer.echo(run(lambda db: _revoke(db, account, key)))


def disable(account: AccountName) -> None:
    """Let no key of an account open anything, until it is enabled again."""
    typer.echo(f"Disabled {run(lambda db: _set_active(db, account, False))}.")


def enable(account: AccountName) -> None:
    """Let the keys of a disabled account open again what they did."""
    typer.echo(f"Enabled {run(lambda db: _set_active(db, account, True))}.")


def _environment() -> Environment:
    """The one whose keys are wanted: settings that production refuses can only be for development."""
    if "FASTAPI_ENV" in os.environ or not problems():
        return environment()
    typer.echo("A test key, for development: these settings would not start in production.", err=True)
    return "development"


def _check(name: str, scopes: list[str], known: list[str]) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        fail(f"A key's name has 1 to {LONGEST_NAME} printable characters.")
    if unknown := sorted(set(scopes) - set(known)):
        fail(f"No route asks for {', '.join(unknown)}; they ask for: {', '.join(known) or 'nothing'}.")


def _print(new: NewKey) -> None:
    typer.echo(new.text)
    typer.echo(f"Shown once; it ends on {new.row.expires_at:%Y-%m-%d}. Its id is {new.row.id}.", err=True)


async def _issue(db: AsyncSession, account: str, name: str, scopes: list[str], life: timedelta) -> NewKey:
    try:
        owner = await accounts.by_name(db, account)
    except UnknownAccount:
        owner = await accounts.create(db, account, kind="service")
    if owner.kind != "service":
        fail("This is a person, who makes their own keys over HTTP.")
    try:
        return await key_store.issue(db, owner.id, name, scopes, life, for_environment=_environment())
    except TooManyKeys:
        _refuse_more()


async def _rotate(db: AsyncSession, account: str, key: UUID, overlap: timedelta) -> NewKey:
    try:
        return await key_store.rotate(db, await _live(db, account, key), overlap, for_environment=_environment())
    except KeyGone:
        fail("This key was rotated before.")
    except TooManyKeys:
        _refuse_more()


async def _revoke(db: AsyncSession, account: str, key: UUID | None) -> str:
    owner = await accounts.by_name(db, account)
    if key is None:
        ended = await accounts.revoke_keys(db, owner.id)
    else:
        ended = 1
        await key_store.revoke(db, await _live(db, account, key))
    return f"Revoked {_keys(ended)} of {owner.name}."


async def _live(db: AsyncSession, account: str, key: UUID) -> ApiKey:
    owner = await accounts.by_name(db, account)
    found = await key_store.live_key(db, owner.id, key)
    if found is None:
        fail("This account has no live key of this id.")
    return found


async def _set_active(db: AsyncSession, account: str, active: bool) -> str:
    owner = await accounts.by_name(db, account)
    await accounts.set_active(db, owner, active)
    return owner.name


def _refuse_more() -> NoReturn:
    fail("This account has as many keys as it may have: revoke one first.")


async def _accounts(db: AsyncSession) -> list[str]:
    live = select(func.count()).where(ApiKey.account_id == Account.id, *is_live()).scalar_subquery()
    programs = select(Account.name, Account.is_active, live).where(Account.kind == "service").order_by(Account.login)
    return [
        f"{name:<40} {_keys(number)}{'' if is_active else ', disabled'}"
        for name, is_active, number in await db.execute(programs)
    ]


def _keys(number: int) -> str:
    return f"{number} key" if number == 1 else f"{number} keys"


async def _lines(db: AsyncSession, account: str) -> list[str]:
    owner: Account = await accounts.by_name(db, account)
    return [_line(key) for key in await key_store.live_keys(db, owner.id)]


def _line(key: ApiKey) -> str:
    used = f"used {key.last_used_at:%Y-%m-%d}" if key.last_used_at else "never used"
    ends = f"ends {key.expires_at:%Y-%m-%d %H:%M}"
    return f"{key.id}  {key.name:<20} …{key.last_four}  {ends}  {used:<15}  {key.scopes}"
