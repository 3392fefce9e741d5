"""Guessing is slow, and who logs in from a known address is not locked out by somebody else's guesses.

Counters are in the database, so they hold for every process, and keyed by an HMAC of the log-in name, so that unknown
names behave like known ones (ASVS 5.0 V6.3.1, NIST SP 800-63B-4 section 3.2.2). Attempts are counted before the
password is looked at. Per source: `SOURCE_LIMITS`. Per account: 5 in 15 minutes from one source, 20 an hour from all
sources that are not known, and after 100 failures in a row one try an hour.
"""

import hashlib
import hmac
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database
from app.security.authentication.throttle_buckets import FAILURES_IN_A_ROW, Limit, Limits, count, forget_unused, locked
from app.security.core.secret_keys import keys_for
from app.security.core.tables import KnownAddress, ThrottleBucket, normalise_login, utc_now
from app.security.http.client_address import UNKNOWN, ProxySettings, client_prefix, contains, parse_network

Purpose = Literal["token", "refresh", "password"]


MINUTE, HOUR = 60, 3600
SOURCE_LIMITS: dict[Purpose, tuple[Limit, ...]] = {
    "token": (Limit(10, MINUTE), Limit(100, HOUR)),
    "refresh": (Limit(30, MINUTE),),
    "password": (Limit(10, MINUTE),),
}
SITE_FACTOR = 4  # an IPv6 /48 may hold many customers: it is allowed more than the /64 of one
FROM_ONE_SOURCE = (Limit(5, 15 * MINUTE),)
FROM_UNKNOWN_SOURCES = (Limit(20, HOUR),)
AFTER_TOO_MANY = (Limit(1, HOUR),)
KNOWN_FOR = timedelta(days=30)
KNOWN_ADDRESSES = 50  # remembered for one account


class Throttled(Exception):
    """Too many attempts; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


def _keys(*parts: str) -> list[bytes]:
    """One for each root secret, the current one first: a rotation must not begin every count anew."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return [hmac.new(key, text, hashlib.sha256).digest() for key in keys_for("throttle")]


async def count_source(database: Database, address: str, purpose: Purpose) -> None:
    """Count one attempt of a source, over all accounts. Raises: Throttled, and then nothing is counted."""
    async with database.begin() as db:
        limits = _source_limits(address, purpose)
        wait = await count(db, await locked(db, limits), limits)
    _refuse(wait)


async def count_attempt(database: Database, login: str, address: str, account: UUID | None, purpose: Purpose) -> None:
    """Count one attempt to use the password of `login`, an account or not, against its source and against it.

    Raises: Throttled. An attempt that its source may not make is not counted against the account.
    """
    async with database.begin() as db:
        by_source = _source_limits(address, purpose)
        by_account = await _account_limits(db, login, address, account)
        streaks = [key for key, limits in by_account.items() if not limits]
        permanent = by_account if account else {}
        buckets = await locked(db, by_source | by_account, permanent)
        too_many = any(buckets[streak].failures_in_a_row >= FAILURES_IN_A_ROW for streak in streaks)
        by_account |= dict.fromkeys(streaks, AFTER_TOO_MANY if too_many else ())
        wait = await count(db, buckets, by_source) or await count(db, buckets, by_account, permanent)
        if wait:
            await forget_unused(db, buckets)
    _refuse(wait)


def _refuse(wait: int) -> None:
    if wait:
        raise Throttled(-(-wait // 1000))


def _source_limits(address: str, purpose: Purpose) -> Limits:
    limits = SOURCE_LIMITS[purpose]
    found: Limits = dict.fromkeys(_keys("source", purpose, client_prefix(address)), limits)
    if ":" in address:
        site = tuple(Limit(limit.attempts * SITE_FACTOR, limit.seconds) for limit in limits)
        found |= dict.fromkeys(_keys("site", purpose, client_prefix(address, 48)), site)
    return found


async def _account_limits(db: AsyncSession, login: str, address: str, account: UUID | None) -> Limits:
    """The bucket of failures in a row has no limit yet. A known address has one of its own: others do not fill it."""
    # The same statement for a name that does not exist: it must take as long.
    known = await _is_known(db, account or UUID(int=0), address)
    found: Limits = dict.fromkeys(_streak_keys(login, address if known else ""), ())
    found |= dict.fromkeys(_pair_keys(login, address), FROM_ONE_SOURCE)
    if not known:
        found |= dict.fromkeys(_account_keys(login), FROM_UNKNOWN_SOURCES)
    return found


async def succeeded(db: AsyncSession, login: str, address: str, account: UUID) -> None:
    """The password was right: no failures in a row any more, and from now on the address is known."""
    keys = (*_pair_keys(login, address), *_streak_keys(login), *_streak_keys(login, address))
    await db.execute(
        update(ThrottleBucket).where(ThrottleBucket.key_hash.in_(keys)).values(attempts="", failures_in_a_row=0)
    )
    if _may_become_known(address):
        newest = _address_keys(address)[0]
        await db.merge(KnownAddress(account_id=account, address_hash=newest, last_login_at=utc_now()))
        await db.flush()
        await _keep_newest_addresses(db, account)


async def unlock(db: AsyncSession, login: str) -> None:
    """Forget the failures of one account; what a source has tried is not forgotten."""
    keys = (*_account_keys(login), *_streak_keys(login))
    await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(keys)))


def _pair_keys(login: str, address: str) -> list[bytes]:
    return _keys("pair", normalise_login(login), client_prefix(address))


def _account_keys(login: str) -> list[bytes]:
    return _keys("account", normalise_login(login))


def _streak_keys(login: str, known_address: str = "") -> list[bytes]:
    return _keys("streak", normalise_login(login), client_prefix(known_address) if known_address else "")


def _address_keys(address: str) -> list[bytes]:
    return _keys("address", client_prefix(address))


def _may_become_known(address: str) -> bool:
    proxies = [parse_network(item) for item in ProxySettings.current().trusted_proxies]
    return client_prefix(address) != UNKNOWN and not contains(proxies, address)


_KNOWN = select(KnownAddress.account_id).where(
    KnownAddress.account_id == bindparam("account"),
    KnownAddress.address_hash.in_(bindparam("addresses", expanding=True)),
    KnownAddress.last_login_at > bindparam("since"),
)


async def _is_known(db: AsyncSession, account: UUID, address: str) -> bool:
    sought = {"account": account, "addresses": _address_keys(address), "since": utc_now() - KNOWN_FOR}
    return await db.scalar(_KNOWN, sought) is not None


async def _keep_newest_addresses(db: AsyncSession, account: UUID) -> None:
    mine = KnownAddress.account_id == account
    newest = select(KnownAddress.address_hash).where(mine).order_by(KnownAddress.last_login_at.desc())
    kept = (await db.scalars(newest.limit(KNOWN_ADDRESSES))).all()
    await db.execute(delete(KnownAddress).where(mine, KnownAddress.address_hash.not_in(kept)))
