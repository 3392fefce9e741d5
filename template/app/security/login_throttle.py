"""Guessing is slow, and who logs in from a known address is not locked out by somebody else's guesses.

Counters are in the database, so they hold for every process, and keyed by an HMAC of the log-in name, so that unknown
names behave like known ones (ASVS 5.0 V6.3.1, NIST SP 800-63B-4 section 3.2.2). Attempts are counted before the
password is looked at. Per source: `SOURCE_LIMITS`. Per account: 5 in 15 minutes from one source, 20 an hour from all
sources that are not known, and after 100 failures in a row one try an hour.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.client_address import UNKNOWN, ProxySettings, client_prefix, contains, parse_network
from app.security.secret_keys import keys_for
from app.security.tables import KnownAddress, ThrottleBucket, normalise_login, utc_now

Purpose = Literal["token", "refresh", "password"]


class Limit(NamedTuple):
    attempts: int
    seconds: int


MINUTE, HOUR = 60, 3600
SOURCE_LIMITS: dict[Purpose, tuple[Limit, ...]] = {
    "token": (Limit(10, MINUTE), Limit(100, HOUR)),
    "refresh": (Limit(30, MINUTE),),
    "password": (Limit(10, MINUTE),),
}
SITE_FACTOR = 4  # an IPv6 /48 may hold many customers: it is allowed more than the /64 of one
FROM_ONE_SOURCE = (Limit(5, 15 * MINUTE),)
FROM_UNKNOWN_SOURCES = (Limit(20, HOUR),)
FAILURES_IN_A_ROW = 100
AFTER_TOO_MANY = (Limit(1, HOUR),)
KNOWN_FOR = timedelta(days=30)
KNOWN_ADDRESSES = 50  # remembered for one account
FORGOTTEN_AFTER = timedelta(days=30)
BUCKETS_OF_NOBODY = 50_000  # rows for sources and for names that do not exist


class Throttled(Exception):
    """Too many attempts; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class _Count(NamedTuple):
    bucket: ThrottleBucket
    limits: tuple[Limit, ...]


def _key(*parts: str) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.new(keys_for("throttle")[0], text, hashlib.sha256).digest()


async def count_source(db: AsyncSession, address: str, purpose: Purpose) -> None:
    """Count one attempt of a source, over all accounts. Raises: Throttled, and then nothing is counted."""
    limits = SOURCE_LIMITS[purpose]
    wanted = {_key("source", purpose, client_prefix(address)): limits}
    if ":" in address:
        site = tuple(Limit(limit.attempts * SITE_FACTOR, limit.seconds) for limit in limits)
        wanted[_key("site", purpose, client_prefix(address, 48))] = site
    await _forget_nobody(db)
    _count([_Count(bucket, wanted[bucket.key_hash]) for bucket in await _locked(db, wanted)])


async def count_attempt(db: AsyncSession, login: str, address: str, account: UUID | None) -> None:
    """Count one attempt to log in as `login`, an account or not.

    Raises: Throttled, and then nothing is counted.
    """
    known = await _is_known(db, account or UUID(int=0), address)
    streak = _key("streak", normalise_login(login))
    wanted = {_pair_key(login, address): FROM_ONE_SOURCE, streak: ()}
    if not known:
        wanted[_account_key(login)] = FROM_UNKNOWN_SOURCES
    counts = []
    for bucket in await _locked(db, wanted, permanent=account is not None):
        too_many = bucket.key_hash == streak and bucket.failures_in_a_row >= FAILURES_IN_A_ROW
        counts.append(_Count(bucket, AFTER_TOO_MANY if too_many else wanted[bucket.key_hash]))
    _count(counts)


async def succeeded(db: AsyncSession, login: str, address: str, account: UUID) -> None:
    """The password was right: no failures in a row any more, and from now on the address is known."""
    keys = (_pair_key(login, address), _key("streak", normalise_login(login)))
    await db.execute(
        update(ThrottleBucket).where(ThrottleBucket.key_hash.in_(keys)).values(attempts="", failures_in_a_row=0)
    )
    if _may_become_known(address):
        await db.merge(KnownAddress(account_id=account, address_hash=_address_key(address), last_login_at=utc_now()))
        await db.flush()
        await _keep_newest_addresses(db, account)


async def unlock(db: AsyncSession, login: str) -> None:
    """Forget the failures of one account; what a source has tried is not forgotten."""
    keys = (_account_key(login), _key("streak", normalise_login(login)))
    await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(keys)))


def _pair_key(login: str, address: str) -> bytes:
    return _key("pair", normalise_login(login), client_prefix(address))


def _account_key(login: str) -> bytes:
    return _key("account", normalise_login(login))


def _address_key(address: str) -> bytes:
    return _key("address", client_prefix(address))


def _may_become_known(address: str) -> bool:
    proxies = [parse_network(item) for item in ProxySettings.current().trusted_proxies]
    return client_prefix(address) != UNKNOWN and not contains(proxies, address)


async def _is_known(db: AsyncSession, account: UUID, address: str) -> bool:
    since = utc_now() - KNOWN_FOR
    here = (KnownAddress.account_id == account, KnownAddress.address_hash == _address_key(address))
    found = await db.scalar(select(KnownAddress.account_id).where(*here, KnownAddress.last_login_at > since))
    return found is not None


async def _keep_newest_addresses(db: AsyncSession, account: UUID) -> None:
    mine = KnownAddress.account_id == account
    newest = select(KnownAddress.address_hash).where(mine).order_by(KnownAddress.last_login_at.desc())
    kept = (await db.scalars(newest.limit(KNOWN_ADDRESSES))).all()
    await db.execute(delete(KnownAddress).where(mine, KnownAddress.address_hash.not_in(kept)))


async def _locked(db: AsyncSession, keys: Iterable[bytes], *, permanent: bool = False) -> list[ThrottleBucket]:
    """The rows of these keys, made where missing, held by us until the transaction ends (in one order)."""
    return [await _locked_row(db, key, permanent) for key in sorted(keys)]


async def _locked_row(db: AsyncSession, key: bytes, permanent: bool) -> ThrottleBucket:
    locked = select(ThrottleBucket).where(ThrottleBucket.key_hash == key).with_for_update()
    bucket = await db.scalar(locked)
    if bucket is None:
        try:
            async with db.begin_nested():
                bucket = ThrottleBucket(key_hash=key, attempts="", failures_in_a_row=0)
                db.add(bucket)
        except IntegrityError:  # another process made it in this moment
            bucket = (await db.scalars(locked)).one()
    bucket.permanent = bucket.permanent or permanent
    return bucket


def _count(counts: list[_Count]) -> None:
    """Count one attempt in each bucket, or raise Throttled and count it in none."""
    now = int(utc_now().timestamp() * 1000)
    waits = [_wait(_times(count.bucket), limit, now) for count in counts for limit in count.limits]
    if any(waits):
        raise Throttled(-(-max(waits) // 1000))
    for bucket, _ in counts:
        recent = [time for time in _times(bucket) if time > now - HOUR * 1000]
        bucket.attempts = " ".join(map(str, [*recent[-500:], now]))
        bucket.failures_in_a_row += 1
        bucket.updated_at = utc_now()


def _times(bucket: ThrottleBucket) -> list[int]:
    return [int(time) for time in bucket.attempts.split()]


def _wait(times: list[int], limit: Limit, now: int) -> int:
    """Milliseconds until one more attempt fits into this moving window; 0 if it does now."""
    recent = [time for time in times if time > now - limit.seconds * 1000]
    if len(recent) < limit.attempts:
        return 0
    return recent[-limit.attempts] + limit.seconds * 1000 - now


async def _forget_nobody(db: AsyncSession) -> None:
    """Rows that belong to no account are bounded, in time and in number."""
    of_nobody = ThrottleBucket.permanent.is_(False)
    stale = ThrottleBucket.updated_at < utc_now() - FORGOTTEN_AFTER
    await db.execute(delete(ThrottleBucket).where(of_nobody, stale))
    newest = select(ThrottleBucket.key_hash).where(of_nobody).order_by(ThrottleBucket.updated_at.desc())
    surplus = (await db.scalars(newest.offset(BUCKETS_OF_NOBODY).limit(1000))).all()
    if surplus:
        await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(surplus)))
