"""Login throttle: slows down brute force and credential stuffing; guesses elsewhere lock no known address out.

Counters are database rows, so they hold for every process. Their keys are HMACs, so the table holds neither names nor
addresses, and names that do not exist are counted alike (ASVS 5.0 V6.3.1, NIST SP 800-63B-4 section 3.2.2). An
attempt is counted before its password is verified, so parallel guesses cannot overrun a limit; a successful login
takes its attempt back. Against lockout by others, an address with a recent successful login has counters of its own.
"""

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import count as counter
from typing import Annotated, Any, Literal, NamedTuple, cast
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import ColumnElement, Row, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database
from app.security.access.credentials import context_in
from app.security.core.problems import Problem
from app.security.core.settings import keys_for
from app.security.core.tables import Account, KnownAddress, ThrottleBucket, utc_now
from app.security.http.client_address import UNKNOWN, ProxySettings, client_prefix, contains


class Limit(NamedTuple):
    """At most `attempts` in `seconds`; with `after_failures`, only once so many attempts in a row have failed."""

    attempts: int
    seconds: int
    after_failures: int = 0


MINUTE, HOUR = 60, 3600
Purpose = Literal["token", "refresh"]

# Per source (an IPv4 address or an IPv6 /64), over all accounts. Successful attempts count too.
SOURCE_LIMITS: dict[Purpose, tuple[Limit, ...]] = {
    "token": (Limit(10, MINUTE), Limit(100, HOUR)),
    "refresh": (Limit(30, MINUTE),),
}
SITE_FACTOR = 4  # an IPv6 /48 may hold many customers, so it is allowed more than one /64

# Per account. Only failures count: a successful login takes its own attempt back.
FAILURES_PER_SOURCE = Limit(5, 15 * MINUTE)
FAILURES_FROM_UNKNOWN_SOURCES = Limit(20, HOUR)
AFTER_100_FAILURES = Limit(1, HOUR, after_failures=100)  # NIST SP 800-63B-4 section 3.2.2

KNOWN_ADDRESS_LIFE = timedelta(days=30)  # since the last login from there
MAX_ANONYMOUS_BUCKETS = 50_000  # rows for sources and for names that do not exist
EVICT_EVERY = 20  # transactions
EVICTED_AT_ONCE = 1000
STALE_AFTER = timedelta(days=30)
_turns = counter(1)

Limits = dict[bytes, tuple[Limit, ...]]
"""The limits of each bucket, by its key."""


@dataclass(frozen=True)
class Client:
    """Where a request comes from: its address, and the user agent that it claims."""

    address: str
    user_agent: str

    @cached_property
    def prefix(self) -> str:
        """One source: an IPv4 address, or the /64 of an IPv6 customer."""
        return client_prefix(self.address)

    @cached_property
    def site(self) -> str | None:
        """The /48 around an IPv6 address."""
        return client_prefix(self.address, 48) if ":" in self.address else None

    @property
    def place(self) -> str:
        """One browser, more or less: a source and its user agent."""
        return f"{self.prefix} {self.user_agent}"[:300]


async def client_of(request: Request) -> Client:
    context = context_in(request.scope)
    return Client(context.client_ip, context.user_agent)


ClientInfo = Annotated[Client, Depends(client_of)]


class Throttled(Problem):
    """429: too many attempts, at one account or, for `of_source`, from this source at any account."""

    def __init__(self, retry_after: int, *, of_source: bool) -> None:
        self.of_source = of_source
        super().__init__(429, detail="Too many attempts.", headers={"Retry-After": str(retry_after)})


async def count_source(database: Database, client: Client, purpose: Purpose) -> None:
    """Count one attempt of this source, over all accounts. Raises: Throttled, and nothing is counted."""
    async with database.begin() as db:
        await _count(db, _source_limits(client, purpose), {})


async def count_attempt(database: Database, login: str, client: Client, account: UUID | None) -> bool:
    """Count one attempt at the password of a normalised `login`, which need not exist, for its source and for itself.

    Committed at once, so that a refusal later does not undo it. Returns whether the address is a known one of the
    account. Raises: Throttled, and nothing is counted.
    """
    async with database.begin() as db:
        login_before = select(KnownAddress.account_id).where(
            KnownAddress.account_id == (account or UUID(int=0)),  # a name that does not exist must take as long
            KnownAddress.address_hash.in_(_keys("address", client.prefix)),
            KnownAddress.last_login_at > utc_now() - KNOWN_ADDRESS_LIFE,
        )
        known = await db.scalar(login_before) is not None
        limits = _account_limits(login, client, known)
        await _count(db, _source_limits(client, "token"), limits, limits if account else ())
        return known


async def record_success(db: AsyncSession, account: Account, client: Client, known: bool) -> None:
    """The password was right: take the attempt back, end the run of failures, and remember the address."""
    login = account.login
    runs = (*_keys("streak", login, ""), *_keys("streak", login, client.prefix))
    refunded = _keys("account", login) if not known else []
    found = await _locked(db, (*_keys("pair", login, client.prefix), *runs, *refunded))
    left = {row.key_hash: row.attempts.rpartition(" ")[0] if row.key_hash in refunded else "" for row in found}
    rows = [{"key": key, "attempts": attempts, "failures_in_a_row": 0} for key, attempts in left.items()]
    if rows:
        await db.execute(_STORE, rows)
    proxies = ProxySettings.current().trusted_proxies  # from one of them, anyone may come
    if client.prefix != UNKNOWN and not contains(proxies, client.address):
        newest = _keys("address", client.prefix)[0]
        await db.merge(KnownAddress(account_id=account.id, address_hash=newest, last_login_at=utc_now()))


async def unlock(db: AsyncSession, login: str) -> None:
    """Forget the failures of one account; what a source has tried is not forgotten."""
    keys = (*_keys("account", login), *_keys("streak", login, ""))
    await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(keys)))


def is_stale() -> ColumnElement[bool]:
    """Rows to prune: unused for a month. The hundred failures of an account stay until a success or an unlock."""
    kept = ThrottleBucket.permanent & (ThrottleBucket.failures_in_a_row >= AFTER_100_FAILURES.after_failures)
    return (ThrottleBucket.updated_at < utc_now() - STALE_AFTER) & ~kept


# Limits and their keys. `login` is normalised.


def _source_limits(client: Client, purpose: Purpose) -> Limits:
    limits = SOURCE_LIMITS[purpose]
    found: Limits = dict.fromkeys(_keys("source", purpose, client.prefix), limits)
    if client.site:
        site = tuple(Limit(limit.attempts * SITE_FACTOR, limit.seconds) for limit in limits)
        found |= dict.fromkeys(_keys("site", purpose, client.site), site)
    return found


def _account_limits(login: str, client: Client, known: bool) -> Limits:
    found: Limits = dict.fromkeys(_keys("pair", login, client.prefix), (FAILURES_PER_SOURCE,))
    found |= dict.fromkeys(_keys("streak", login, client.prefix if known else ""), (AFTER_100_FAILURES,))
    if not known:
        found |= dict.fromkeys(_keys("account", login), (FAILURES_FROM_UNKNOWN_SOURCES,))
    return found


def _keys(kind: str, *parts: str) -> list[bytes]:
    """One key for each root secret, the current one first: rotating the secret must not reset a counter."""
    text = "\0".join((kind, *parts)).encode("utf-8", "surrogatepass")
    return [hmac.digest(key, text, "sha256") for key in keys_for("throttle")]


# Rows. The statements are built once: under a login flood, building them would take most of the event loop's time.

_TABLE = cast(Table, ThrottleBucket.__table__)
_CREATE: dict[str, Any] = {
    "sqlite": sqlite.insert(_TABLE).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_TABLE).on_conflict_do_nothing(),
}
# Always in the order of their keys, so that two transactions never wait for each other.
_LOCK = (
    select(_TABLE)
    .where(_TABLE.c.key_hash.in_(bindparam("keys", expanding=True)))
    .order_by(_TABLE.c.key_hash)
    .with_for_update()
)
_STORE = update(_TABLE).where(_TABLE.c.key_hash == bindparam("key"))


async def _count(db: AsyncSession, source: Limits, account: Limits, permanent: Collection[bytes] = ()) -> None:
    """Count one attempt in every bucket. Raises: Throttled, which rolls back, so that a refusal leaves no row."""
    now, limits = int(utc_now().timestamp() * 1000), source | account
    waits: dict[bytes, int] = {}
    rows = []
    for row in await _created(db, limits, permanent):
        wanted, times = limits[row.key_hash], [int(time) for time in row.attempts.split()]
        wait = [_wait(times, limit, now) for limit in wanted if row.failures_in_a_row >= limit.after_failures]
        waits[row.key_hash] = max(wait, default=0)
        since = now - max(limit.seconds for limit in wanted) * 1000
        rows.append(
            {
                "key": row.key_hash,
                "attempts": " ".join(map(str, [*(time for time in times if time > since), now])),
                "failures_in_a_row": row.failures_in_a_row + 1,
                # Attempts from before the account existed count too.
                "permanent": row.permanent or row.key_hash in permanent,
                "updated_at": utc_now(),
            }
        )
    if any(waits.values()):
        raise Throttled(-(-max(waits.values()) // 1000), of_source=any(waits[key] for key in source))
    await db.execute(_STORE, rows)


def _wait(times: list[int], limit: Limit, now: int) -> int:
    """Milliseconds until one more attempt fits into this sliding window; 0 if it does now."""
    recent = [time for time in times if time > now - limit.seconds * 1000]
    return 0 if len(recent) < limit.attempts else recent[-limit.attempts] + limit.seconds * 1000 - now


async def _created(db: AsyncSession, keys: Collection[bytes], permanent: Collection[bytes]) -> Sequence[Row[Any]]:
    """The rows of all these keys, created where missing, locked until the transaction ends."""
    rows = [{"key_hash": key, "permanent": key in permanent} for key in sorted(keys)]
    found: Sequence[Row[Any]] = ()
    while len(found) < len(keys):  # another transaction may drop a row before we lock it
        await db.execute(_CREATE[db.get_bind().dialect.name], rows)
        found = await _locked(db, keys)
    if next(_turns) % EVICT_EVERY == 0:
        await _evict_anonymous(db, keys)
    return found


async def _locked(db: AsyncSession, keys: Collection[bytes]) -> Sequence[Row[Any]]:
    """The rows of these keys that exist, locked until the transaction ends."""
    return (await db.execute(_LOCK, {"keys": list(keys)})).all()


async def _evict_anonymous(db: AsyncSession, but: Collection[bytes]) -> None:
    """Drop the oldest rows that belong to no account: made-up names must not fill the database."""
    anonymous = (ThrottleBucket.permanent.is_(False), ThrottleBucket.key_hash.not_in(but))
    newest = select(ThrottleBucket.key_hash).where(*anonymous).order_by(ThrottleBucket.updated_at.desc())
    surplus = (await db.scalars(newest.offset(MAX_ANONYMOUS_BUCKETS).limit(EVICTED_AT_ONCE))).all()
    if surplus:
        await db.execute(delete(ThrottleBucket).where(ThrottleBucket.key_hash.in_(surplus)))
