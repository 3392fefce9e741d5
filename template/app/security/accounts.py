"""Accounts of people, for your own routes and scripts: create, find, log in, reset a password, delete.

Each docstring says what is not checked. `token_endpoint` is the function of POST /auth/token, for a second path.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access import accounts
from app.security.access.accounts import AccountError as AccountError
from app.security.access.accounts import AccountExists as AccountExists
from app.security.access.accounts import find_account as find_account
from app.security.access.credentials import RequestContext
from app.security.administration import self_service
from app.security.administration.self_service import delete_account as delete_account
from app.security.authentication import routes
from app.security.authentication.passwords import PasswordHasher, PasswordSettings
from app.security.authentication.routes import TokenOut as TokenOut
from app.security.authentication.routes import issue_tokens as issue_tokens
from app.security.core import events
from app.security.core.tables import EXTERNAL_LOGIN, Account, OneTimeToken, utc_now

RESET_LIFE = timedelta(hours=1)
RESET_PAUSE = timedelta(minutes=5)  # between two tokens of one account, so that nobody's mailbox is flooded

token_endpoint = routes.token


async def create_account(
    db: AsyncSession, name: str, password: str | None = None, *, roles: Iterable[str] = ()
) -> Account:
    """A new person. Without a password, they set the first one with the token of `request_password_reset`.

    Use it first in a transaction: the password is hashed before the database is used, so none waits for the other. An
    error that your route does not catch is the response: 409 for a name that is taken, 422 for a weak password, 503
    when too many are hashed. It limits no client, and does not check who may grant these roles, or whose the name is.
    Raises: AccountExists, BadName, WeakPassword, and ValueError for a role that this project does not have.
    """
    accounts.check_name(name)
    wanted = set(roles)
    if unknown := wanted - accounts.ROLES:
        raise ValueError(f"This project has no role {sorted(unknown)}: its roles are {sorted(accounts.ROLES)}.")
    password_hash = None
    if password is not None:
        context = events.current.get()  # the hasher of the app bounds what waits; a script has its own
        app = context.app if isinstance(context, RequestContext) else None
        passwords = app.state.passwords if app else PasswordHasher(PasswordSettings.current())
        await passwords.check_strength(password, name)
        password_hash = await passwords.hash(password)
    return await accounts.create(db, name, password_hash=password_hash, roles=wanted)


class PasswordReset(NamedTuple):
    """A one-time token, and the name of its account, as it is stored: send it there."""

    name: str
    token: str


async def request_password_reset(db: AsyncSession, name: str) -> PasswordReset | None:
    """A token that sets a forgotten password, or the first one, at POST /auth/activate within an hour.

    Send it to the name in the result, never to the one that was asked for: both may fold alike and be two mailboxes.
    None where nothing is to be sent: for an unknown or disabled account, a service, an administrator (`manage users
    invite`), somebody who logs in elsewhere (`issue_tokens`), and for five minutes after a token. Respond before a
    background task calls this, so that neither the response nor its time enumerates accounts. It does not limit
    clients: limit the route. Using the token ends every session and API key, and enables no disabled account.
    """
    found = await find_account(db, name)
    account = found and await db.get(Account, found.id, with_for_update=True, populate_existing=True)
    if account is None or not account.is_active or account.password_hash in (None, EXTERNAL_LOGIN):
        return None
    if accounts.ADMINISTRATOR in await accounts.roles_of(db, account.id):
        return None
    own = (OneTimeToken.account_id == account.id, OneTimeToken.issuer_id == account.id)
    if await db.scalar(select(OneTimeToken.id).where(*own, OneTimeToken.created_at > utc_now() - RESET_PAUSE)):
        return None
    await db.execute(delete(OneTimeToken).where(*own))
    return PasswordReset(account.name, self_service.new_token(db, account, account, RESET_LIFE, "password_reset"))
