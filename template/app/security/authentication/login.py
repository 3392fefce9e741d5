"""Logging in with a password: bounds, then the throttle, then the password, then the account, then a session.

Unknown, disabled, wrong and odd all end in the same answer after the same work (ASVS 5.0 V6.3.8). No database
connection is held while the password is hashed.
"""

from collections import Counter

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database
from app.security.authentication import sessions
from app.security.authentication import throttle as login_throttle
from app.security.authentication.passwords import PasswordHasher
from app.security.authentication.sessions import Client, Grant
from app.security.authentication.throttle import Purpose, Throttled
from app.security.core import events
from app.security.core.events import Event, OnceAMinute
from app.security.core.tables import Account, normalise_login
from app.security.http.client_address import client_prefix

LOGINS_OF_ONE_SOURCE = 4  # that may wait for a hash at once, in one process
LONGEST_LOGIN = 254
LOCKS_A_MINUTE = 200  # log-in names whose refusal is an event, in one process


_BY_LOGIN = select(Account.__table__).where(Account.login == bindparam("login"))


class LoginFailed(Exception):
    """The one answer to every log-in that is not right."""


class PasswordLogin:
    def __init__(self, database: Database, passwords: PasswordHasher) -> None:
        self._database = database
        self._passwords = passwords
        self._waiting: Counter[str] = Counter()
        self._locks_reported = OnceAMinute(LOCKS_A_MINUTE)

    async def log_in(self, name: str, password: str, client: Client, scopes: frozenset[str] | None) -> Grant:
        """A session for who knows this password. Raises: LoginFailed, Throttled, Problem 503."""
        account = await self._find(name)
        login = normalise_login(name[: LONGEST_LOGIN + 1])  # cut first: normalising takes the square of the length
        await self._count(login, account, client, "token")
        right = await self._verify(password, account, client)
        if account is None or not right or not account.is_active or account.kind != "person":
            subject = account.id if account else events.name_digest(login)
            events.record(Event.LOGIN_FAIL, outcome="failure", subject=subject)
            raise LoginFailed
        renewed = await self._renewed(password, account)
        async with self._database.begin() as db:
            return await self._start(db, name, account, renewed, client, scopes)

    async def check(self, account: Account, password: str, client: Client) -> bool:
        """Whether this is the account's password, counted like a log-in. Raises: Throttled, Problem 503."""
        await self._count(account.name, account, client, "password")
        right = await self._verify(password, account, client)
        if right:
            async with self._database.begin() as db:
                await login_throttle.succeeded(db, account.name, client.address, account.id)
        return right

    async def _find(self, name: str) -> Account | None:
        if len(name) > LONGEST_LOGIN or not _is_text(name):
            return None
        async with self._database.read() as connection:
            row = (await connection.execute(_BY_LOGIN, {"login": normalise_login(name)})).one_or_none()
        return Account(**row._mapping) if row else None

    async def _count(self, login: str, account: Account | None, client: Client, purpose: Purpose) -> None:
        known_id = account.id if account else None
        try:
            await login_throttle.count_attempt(self._database, login, client.address, known_id, purpose)
        except Throttled:
            name = events.name_digest(normalise_login(login))
            self._locks_reported.record(name, Event.LOGIN_LOCK, subject=name)
            raise

    async def _verify(self, password: str, account: Account | None, client: Client) -> bool:
        source = client_prefix(client.address)
        if self._waiting[source] >= LOGINS_OF_ONE_SOURCE:
            raise Throttled(1)
        self._waiting[source] += 1
        try:
            return await self._passwords.verify(password, account.password_hash if account else None)
        finally:
            self._waiting[source] -= 1
            if not self._waiting[source]:
                del self._waiting[source]

    async def _renewed(self, password: str, account: Account) -> str | None:
        """A hash with today's costs, if the stored one has others."""
        stored = account.password_hash or ""
        return await self._passwords.hash(password) if self._passwords.is_outdated(stored) else None

    async def _start(
        self,
        db: AsyncSession,
        name: str,
        verified: Account,
        renewed: str | None,
        client: Client,
        scopes: frozenset[str] | None,
    ) -> Grant:
        # What was verified must still hold: the password may have been changed, or the account disabled, meanwhile.
        unchanged = (Account.id == verified.id, Account.password_hash == verified.password_hash, Account.is_active)
        account = await db.scalar(select(Account).where(*unchanged).with_for_update())
        if account is None:
            raise LoginFailed
        if renewed is not None:
            await db.execute(update(Account).where(Account.id == account.id).values(password_hash=renewed))
        await login_throttle.succeeded(db, name, client.address, account.id)
        events.record_change(db, Event.LOGIN_SUCCESS, actor=account.id)
        return await sessions.start(db, account, client, scopes)


def _is_text(name: str) -> bool:
    """Whether a database can hold it: no NUL, no lone surrogate."""
    return "\0" not in name and name.isprintable()
