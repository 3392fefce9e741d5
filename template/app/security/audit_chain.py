"""The chain of audit rows: each row's hash is an HMAC over the row and the hash of the one before.

Rows are linked as the last statements before a commit, under the lock of the head: so the order of commits is the order
of the chain, and what is rolled back leaves no gap (ASVS 5.0 V16.4.2). "head" and "start" say where it ends and begins.
"""

import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import Select, Table, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database import changed_rows
from app.security import logs
from app.security.audit_key import audit_keys, current_key
from app.security.tables import AuditChain, AuditEvent, utc_now

EVENTS, CHAIN = cast(Table, AuditEvent.__table__), cast(Table, AuditChain.__table__)
_LENGTHS: dict[str, int] = {column.name: getattr(column.type, "length", 0) for column in EVENTS.columns}
Row = dict[str, Any]


class Mark(NamedTuple):
    """A place in the chain, written as SEQ:HASH."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"


ORIGIN = Mark(0, bytes(32))


class BrokenChain(Exception):
    """The first row that is not what was written, and what is wrong with it."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(f"Row {seq} {what}.")
        self.seq = seq


def row_of(fields: Mapping[str, object]) -> Row:
    """A row for an event, with nothing in it that a database would give back changed."""
    now = utc_now()
    known = {name: _kept(fields[name], _LENGTHS[name]) for name in _LENGTHS.keys() & fields.keys()}
    at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    empty = dict.fromkeys(("subject", "reason", *_OF_REQUESTS))
    return {**empty, **known, "id": uuid.uuid4(), "at": at, "app_version": _kept(logs.app_version(), 64)}


_OF_REQUESTS = ("client_ip", "user_agent", "request_id", "client_request_id", "method", "route")


def _kept(value: object, length: int) -> str:
    return str(value).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()[:length]


def canonical(row: Mapping[str, Any]) -> bytes:
    """What is signed. An empty column is left out, so that one that a later release adds changes no older row."""
    values = {name: _text(value) for name, value in row.items() if value is not None and name != "hash"}
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=repr).encode()


def _text(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value) if isinstance(value, uuid.UUID) else value


def row_hash(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """Raises: KeyError for a row of an unknown key."""
    return audit_keys()[row["key_id"]].sign(previous, canonical(row))


def _signed(name: str, mark: Mark) -> list[bytes]:
    return [name.encode(), str(mark.seq).encode(), b":", mark.hash]


def _is_ours(name: str, mark: Mark, mac: bytes) -> bool:
    try:
        return any(hmac.compare_digest(key.sign(*_signed(name, mark)), mac) for key in audit_keys().values())
    except TypeError:  # no bytes at all: SQLite keeps anything
        return False


async def read_mark(db: AsyncSession | AsyncConnection, name: str, *, lock: bool = False) -> Mark | None:
    """Where the chain ends or starts, or None where that was never written. Raises: BrokenChain, for one not by us."""
    found: Select[Any] = select(CHAIN).where(CHAIN.c.name == name)
    row = (await db.execute(found.with_for_update() if lock else found)).one_or_none()
    if row is None:
        return None
    mark = Mark(row.seq, row.hash)
    if not _is_ours(name, mark, row.mac):
        raise BrokenChain(row.seq, f"is named by a {name} that was not written with a key of ours")
    return mark


def _values(name: str, mark: Mark) -> Row:
    return {"name": name, "seq": mark.seq, "hash": mark.hash, "mac": current_key().sign(*_signed(name, mark))}


async def write_mark(db: AsyncSession, name: str, mark: Mark) -> None:
    """For who holds the lock of the head."""
    values = _values(name, mark)
    if not await changed_rows(db, update(CHAIN).where(CHAIN.c.name == name).values(values)):
        await db.execute(insert(CHAIN).values(values))


async def _locked_head(db: AsyncSession) -> Mark:
    """Whoever comes second waits here until the first has committed."""
    head = await read_mark(db, "head", lock=True)
    if head is not None:
        return head
    try:
        async with db.begin_nested():
            await db.execute(insert(CHAIN).values(_values("head", ORIGIN)))  # never an update: another may be faster
    except IntegrityError:
        return await _locked_head(db)
    if await db.scalar(select(exists(select(EVENTS.c.seq)))) or await read_mark(db, "start"):
        raise BrokenChain(1, "is there, and no head")
    return ORIGIN


async def append(db: AsyncSession, rows: Sequence[Row]) -> Mark:
    """Link these rows to the end of the chain, and say where it ends now. Raises: BrokenChain."""
    seq, digest = await _locked_head(db)
    key_id, linked = current_key().id, []
    for row in rows:
        seq += 1
        whole = {**row, "seq": seq, "key_id": key_id}
        digest = row_hash(digest, whole)
        linked.append({**whole, "hash": digest})
    await db.execute(insert(EVENTS), linked)
    head = Mark(seq, digest)
    await write_mark(db, "head", head)
    return head
