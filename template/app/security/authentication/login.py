"""Login with a password: throttle, then password, then account, then session.

Against account enumeration, an unknown name, a disabled account and a wrong password get one response after the same
work (ASVS 5.0 V6.3.8). No database connection is held while a password is hashed.
"""

import hmac

from sqlalchemy import select

from app.database import Database
from app.security.access.accounts import LONGEST_LOGIN, find_account, lock
from app.security.authentication import sessions, throttle
from app.security.authentication.passwords import PasswordHasher
from app.security.authentication.sessions import Grant
from app.security.authentication.throttle import Client, Throttled
from app.security.core.events import Event, OnceAMinute, record, record_change
from app.security.core.settings import keys_for
from app.security.core.tables import Account, normalise_login

LOCKS_A_MINUTE = 200  # names whose refusal is an event, in one process


class PasswordLogin:
    """Check passwords against accounts. One per app, since it bounds what waits for a hash."""

    def __init__(self, database: Database, passwords: PasswordHasher) -> None:
        self._database = database
        self._passwords = passwords
        self._locks_reported = OnceAMinute(LOCKS_A_MINUTE)

    async def log_in(self, name: str, password: str, client: Client, scopes: frozenset[str] | None) -> Grant | None:
        """A new session; None for every reason why a login fails. Raises: Throttled, Problem 503."""
        async with self._database.begin() as db:
            account = await find_account(db, name)
        login = normalise_login(name[: LONGEST_LOGIN + 1])  # cut first: normalising takes quadratic time
        known = await self._count(login, account, client)
        verified = await self._passwords.verify(password, account.password_hash if account else None)
        if account is None or verified is None or not account.is_active or account.kind != "person":
            record(Event.LOGIN_FAIL, outcome="failure", subject=_subject(account, login))
            return None
        # The password may have been changed, or the account disabled, while the hash was computed.
        unchanged = (Account.id == account.id, Account.password_hash == account.password_hash, Account.is_active)
        async with self._database.begin() as db:
            person = await db.scalar(select(Account).where(*unchanged).with_for_update())
            if person is None:
                record(Event.LOGIN_FAIL, outcome="failure", subject=account.id)
                return None
            person.password_hash = verified
            await throttle.record_success(db, person, client, known)
            record_change(db, Event.LOGIN_SUCCESS, actor=person.id)
            return await sessions.start(db, person, client, scopes)

    async def check(self, account: Account, password: str, client: Client) -> bool:
        """Whether this is the account's password; counted like a login. Raises: Throttled, Problem 503."""
        known = await self._count(account.login, account, client)
        if await self._passwords.verify(password, account.password_hash) is None:
            return False
        async with self._database.begin() as db:
            await lock(db, account.id)  # before the throttle's rows, as activation and erasure do
            await throttle.record_success(db, account, client, known)
        return True

    async def _count(self, login: str, account: Account | None, client: Client) -> bool:
        try:
            return await throttle.count_attempt(self._database, login, client, account.id if account else None)
        except Throttled as refusal:
            # A source that is refused may go on inventing names: one event for all of them.
            subject = None if refusal.of_source and account is None else _subject(account, login)
            self._locks_reported.record(subject or client.prefix, Event.LOGIN_LOCK, subject=subject)
            raise


def _subject(account: Account | None, login: str) -> str:
    """How an event names the account. A name that does not exist, which may be a password, only as a digest."""
    if account is not None:
        return str(account.id)
    return hmac.digest(keys_for("events")[0], login.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
