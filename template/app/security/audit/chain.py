"""The tamper-evident chain: each row's hash is an HMAC over the row and the hash before it; a signed head ends it.

Rows are appended at the end of a transaction, one transaction after the other: so the order of commits is the order of
the chain, and a rollback leaves no gap. The key is a secret of its own, since rows outlive the rotation of every other
(ASVS 5.0 V16.4.2).
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from pydantic import SecretStr, ValidationError
from sqlalchemy import Table, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import after_commit, changed_rows
from app.security.core import events, settings
from app.security.core.events import Event
from app.security.core.settings import SecretSettings, SecuritySettings, StrongSecrets, decode_secrets, derive
from app.security.core.tables import AuditChain, AuditEvent

EVENTS, CHAIN = cast(Table, AuditEvent.__table__), cast(Table, AuditChain.__table__)
LOCK = 0x61756469  # the number of an advisory lock of PostgreSQL
Row = dict[str, Any]


class AuditSettings(SecuritySettings):
    audit_key: StrongSecrets = SecretStr("")  # empty: derived from SECRET_KEY, which production refuses
    audit_key_fallbacks: StrongSecrets = SecretStr("")  # the rows they signed still verify

    def roots(self) -> list[bytes]:
        return decode_secrets(self.audit_key, self.audit_key_fallbacks)

    def weaknesses(self) -> list[str]:
        if not self.audit_key.get_secret_value():
            return ["AUDIT_KEY: is missing; make one with: uv run manage secrets new"]
        with suppress(ValidationError):  # reported for SECRET_KEY already
            if not set(self.roots()).isdisjoint(cast(SecretSettings, settings.read(SecretSettings)).roots()):
                return ["AUDIT_KEY: is a SECRET_KEY too; make another: uv run manage secrets new"]
        return []


def audit_keys() -> dict[str, bytes]:
    """The keys that verify by their ids, newest first; the first one signs.

    Those derived from SECRET_KEY signed the rows from before there was an AUDIT_KEY. In production they verify nothing
    beside it: a leaked SECRET_KEY must not sign the chain again.
    """
    roots = AuditSettings.current().roots()
    if not (roots and settings.in_production()):
        roots += SecretSettings.current().roots()
    secrets = [derive(root, "audit") for root in roots]
    return {hashlib.sha256(secret).hexdigest()[:8]: secret for secret in secrets}


class BrokenChain(Exception):
    """The first row that is not as it was written, and what is wrong with it."""

    def __init__(self, seq: int, problem: str) -> None:
        super().__init__(f"Row {seq} {problem}.")
        self.seq = seq


class Position(NamedTuple):
    """A place in the chain, written as SEQ:HASH."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """A checkpoint or the subject of an event; 0.1.0 added the number of rows to that of `audit_restarted`."""
        found = re.match(r"([0-9]{1,18}):([0-9a-f]{64})(?:, [0-9]+ rows)?\Z", text)
        return cls(int(found[1]), bytes.fromhex(found[2])) if found else None

    def mac(self, secret: bytes) -> bytes:
        return hmac.digest(secret, b"head%d:" % self.seq + self.hash, "sha256")


ORIGIN = Position(0, bytes(32))


def row_hash(secret: bytes, before: bytes, row: Mapping[str, Any]) -> bytes:
    """Empty columns are left out, so that a column of a later release changes no older row."""
    values = {name: _text(value) for name, value in row.items() if value is not None and name != "hash"}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=repr)
    return hmac.digest(secret, before + text.encode(), "sha256")


def _text(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value) if isinstance(value, UUID) else value


async def lock(db: AsyncSession) -> None:
    """Wait for every other transaction that changes the chain; SQLite has one writer anyway."""
    if db.get_bind().dialect.name == "postgresql":
        await db.execute(select(func.pg_advisory_xact_lock(LOCK)))


async def read_head(db: AsyncSession) -> tuple[Position, str]:
    """The end of the chain and the id of the key that signed it. Raises: BrokenChain."""
    row = (await db.execute(select(CHAIN).where(CHAIN.c.name == "head"))).one_or_none()
    if row is None:
        if await db.scalar(select(exists(select(EVENTS.c.seq)))):
            raise BrokenChain(1, "exists, but no head of the chain")
        return ORIGIN, next(iter(audit_keys()))
    head = Position(row.seq, row.hash)
    for key_id, secret in audit_keys().items():
        if hmac.compare_digest(head.mac(secret), row.mac):
            return head, key_id
    raise BrokenChain(head.seq, "is named by a head that no current key has signed")


async def write_head(db: AsyncSession, head: Position) -> None:
    values = {"seq": head.seq, "hash": head.hash, "mac": head.mac(next(iter(audit_keys().values())))}
    if not await changed_rows(db, update(CHAIN).where(CHAIN.c.name == "head").values(values)):
        await db.execute(insert(CHAIN).values(name="head", **values))


# The last row that this process has appended, by engine. An older state of the tables verifies in itself.
_appended: WeakKeyDictionary[object, int] = WeakKeyDictionary()


async def append(db: AsyncSession, rows: Sequence[Row]) -> None:
    """Append these rows, and write a checkpoint to stdout: kept elsewhere, it proves that the tail was cut.

    Raises: BrokenChain.
    """
    if not rows:
        return
    await lock(db)
    (seq, digest), _ = await read_head(db)
    engine = db.get_bind()
    if seq < (last := _appended.get(engine, 0)):
        raise BrokenChain(last, "was appended by this process and is missing: an older state was restored")
    (key_id, secret), *_ = audit_keys().items()
    linked = []
    for row in rows:
        seq += 1
        whole = {**row, "seq": seq, "key_id": key_id}
        digest = row_hash(secret, digest, whole)
        linked.append({**whole, "hash": digest})
    await db.execute(insert(EVENTS), linked)
    head = Position(seq, digest)
    await write_head(db, head)
    after_commit(db, partial(_appended.__setitem__, engine, seq))
    after_commit(db, partial(events.record, Event.AUDIT_CHECKPOINT, subject=str(head)))


async def start_of(db: AsyncSession) -> tuple[Position, bool]:
    """The position after which the chain starts, and whether unverified rows may precede it.

    The event that moved the start must follow it: then it is verified with the rest. Raises: BrokenChain.
    """
    moved = EVENTS.c.event.in_((Event.AUDIT_PRUNED, Event.AUDIT_RESTARTED))
    row = (await db.execute(select(EVENTS).where(moved).order_by(EVENTS.c.seq.desc()).limit(1))).one_or_none()
    if row is None:
        return ORIGIN, False
    start = Position.parse(row.subject or "") or ORIGIN
    if start.seq >= row.seq:
        raise BrokenChain(row.seq, "names a start of the chain that comes after it")
    return start, row.event == Event.AUDIT_RESTARTED


async def _snapshot(db: AsyncSession) -> None:
    """Read one state of the tables from here on, without locking out writers."""
    if db.get_bind().dialect.name == "postgresql":
        await db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    else:
        await (await db.connection(execution_options={"single_statement": True})).exec_driver_sql("BEGIN")


async def verify(db: AsyncSession, checkpoint: Position = ORIGIN) -> tuple[int, Position]:
    """The number of verified rows and the end of the chain. Raises: BrokenChain, for the first row that fails."""
    await _snapshot(db)
    keys = audit_keys()
    here, age = ORIGIN, len(keys)  # the age of the key that signed the last row; it never grows
    head, signer = ORIGIN, ""
    try:
        with suppress(BrokenChain):  # named below, after the rows, which may be as they were written
            head, signer = await read_head(db)
        start, may_follow_others = await start_of(db)
        here = start
        async for row in await db.stream(select(EVENTS).order_by(EVENTS.c.seq)):
            if row.seq > start.seq or not may_follow_others:
                here, age = _follow(row, here, age, keys)
            if checkpoint.seq == row.seq and checkpoint.hash != row.hash:
                raise BrokenChain(row.seq, "is not the row of the checkpoint")
    except (AttributeError, TypeError, ValueError):  # SQLite stores any type in any column
        raise BrokenChain(here.seq + 1, "or one soon after it cannot be read") from None
    if here.seq < max(head.seq, checkpoint.seq):
        raise BrokenChain(here.seq + 1, "is missing: the head or the checkpoint comes after it")
    if not signer:
        raise BrokenChain(here.seq, f"and all from {start.seq + 1} on verify, but no current key has signed the head")
    if here != head or list(keys).index(signer) > age:
        raise BrokenChain(here.seq, "is the last one, but the head of the chain does not say so")
    return here.seq - start.seq, here


def _follow(row: Any, here: Position, age: int, keys: dict[str, bytes]) -> tuple[Position, int]:
    """The position of this row and the age of its key. Raises: BrokenChain, unless it is the next one."""
    if row.seq <= here.seq:
        raise BrokenChain(row.seq, "was inserted before the start of the chain")
    if row.seq != here.seq + 1:
        raise BrokenChain(here.seq + 1, "is missing")
    if row.key_id not in keys:
        raise BrokenChain(row.seq, "was signed with a key that is neither AUDIT_KEY nor a fallback")
    if row.hash != row_hash(keys[row.key_id], here.hash, row._mapping):
        raise BrokenChain(row.seq, "was changed, moved or inserted")
    key_age = list(keys).index(row.key_id)
    if key_age > age:  # a key that was replaced may have leaked
        raise BrokenChain(row.seq, "was signed with an older key than the row before it")
    return Position(row.seq, row.hash), key_age
