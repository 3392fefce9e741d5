"""`manage keys …`: API keys of service accounts. A new key is printed once, alone on stdout."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access import accounts
from app.security.core.tables import Account, ApiKey, is_displayable
from app.security.keys import store
from app.security.keys.store import DEFAULT_DAYS, LONGEST_DAYS, LONGEST_KEY_NAME, NewKey, is_live
from app.security.operations.terminal import command, fail

NO_LIVE_KEY = "This account has no live key with this id."
AccountName = Annotated[str, typer.Option(help="The service account, such as billing.")]
KeyId = Annotated[UUID, typer.Argument(help="The id that `manage keys list --account …` shows.")]


def commands(known_scopes: Callable[[], list[str]]) -> typer.Typer:
    """The commands of an app whose routes require these scopes."""
    keys = typer.Typer(no_args_is_help=True)

    async def issue(
        db: AsyncSession,
        account: AccountName,
        scope: Annotated[list[str], typer.Option(help="A scope of the key; may be repeated.")],
        name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
        days: Annotated[
            int, typer.Option(min=1, max=LONGEST_DAYS, help="After how many days it expires.")
        ] = DEFAULT_DAYS,
    ) -> str:
        """Print a new key of a service account. An account that does not exist yet is created."""
        if not 0 < len(name) <= LONGEST_KEY_NAME or not is_displayable(name):
            fail(f"A key's name has 1 to {LONGEST_KEY_NAME} visible characters.")
        known = known_scopes()
        if unknown := sorted(set(scope) - set(known)):
            fail(f"No route requires {', '.join(unknown)}. The scopes of this service: {', '.join(known) or 'none'}.")
        owner = await accounts.find_account(db, account) or await accounts.create(db, account, kind="service")
        if owner.kind != "service":
            fail("This account is a person's. People issue their keys over HTTP.")
        return _shown(await store.issue(db, owner.id, name, scope, timedelta(days=days)))

    keys.command("list")(command(list_keys))
    for work in (issue, rotate, revoke, disable, enable):
        keys.command()(command(work))
    return keys


async def rotate(
    db: AsyncSession,
    account: AccountName,
    key: KeyId,
    overlap_hours: Annotated[int, typer.Option(min=0, max=24, help="How long the old key stays valid.")] = 24,
) -> str:
    """Print the successor of a key. The old key ends after the overlap."""
    owner = await accounts.by_name(db, account)
    live = await store.live_key(db, owner.id, key) or fail(NO_LIVE_KEY)
    return _shown(await store.rotate(db, live, overlap_hours))


async def list_keys(
    db: AsyncSession,
    account: Annotated[str | None, typer.Option(help="An account; without one, every account.")] = None,
) -> str:
    """The live keys of an account, or of every account."""
    live = select(Account.name, Account.is_active, ApiKey).join(Account, ApiKey.account_id == Account.id)
    found = live.where(*is_live()).order_by(Account.login, ApiKey.created_at.desc())
    if account is not None:
        found = found.where(Account.id == (await accounts.by_name(db, account)).id)
    return "\n".join(_line(*row) for row in await db.execute(found))


async def revoke(
    db: AsyncSession,
    account: AccountName,
    key: Annotated[UUID | None, typer.Argument(help="Its id, as `manage keys list --account …` shows it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every key of the account.")] = False,
) -> str:
    """End a key immediately. With --all every key of the account."""
    if every == (key is not None):
        raise typer.BadParameter("name one key by its id, or every key of the account with --all")
    owner = await accounts.by_name(db, account)
    which = () if key is None else (ApiKey.id == key,)
    revoked = await accounts.revoke_keys(db, owner.id, *which)
    if not revoked and key is not None:
        fail(NO_LIVE_KEY)
    return f"Revoked {revoked} {'key' if revoked == 1 else 'keys'} of {owner.name}."


async def disable(db: AsyncSession, account: AccountName) -> str:
    """Refuse every key of an account, until it is enabled."""
    await accounts.set_active(db, await accounts.by_name(db, account), False)
    return f"Disabled {account}."


async def enable(db: AsyncSession, account: AccountName) -> str:
    """Accept the keys of a disabled account again."""
    await accounts.set_active(db, await accounts.by_name(db, account), True)
    return f"Enabled {account}."


def _shown(new: NewKey) -> str:
    shown = f"Shown once. It expires on {new.row.expires_at:%Y-%m-%d}. Its id is {new.row.id}."
    typer.echo(f"{shown} Production refuses keys with _test_, development those with _live_.", err=True)
    return new.text


def _line(owner: str, is_active: bool, key: ApiKey) -> str:
    used = f"used {key.last_used_at:%Y-%m-%d}" if key.last_used_at else "never used"
    expires = f"expires {key.expires_at:%Y-%m-%d %H:%M}"
    whose = owner if is_active else f"{owner} (disabled)"
    return f"{key.id}  {key.name:<20} …{key.last_four}  {expires}  {used:<15}  {key.scopes}  {whose}"
