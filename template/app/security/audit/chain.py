"""The chain of audit rows: each row's hash is an HMAC over the row and the hash of the one before.

Rows are linked as the last statements before a commit, under the lock of the head: so the order of commits is the order
of the chain, and what is rolled back leaves no gap (ASVS 5.0 V16.4.2).
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.audit.audit_key import audit_keys, current_key
from app.security.audit.audit_marks import EVENTS, ORIGIN, BrokenChain, Mark, locked_head, read_start, write_mark
from app.security.core import logs
from app.security.core.tables import utc_now

_LENGTHS: dict[str, int] = {column.name: getattr(column.type, "length", 0) for column in EVENTS.columns}
Row = dict[str, Any]


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


async def append(db: AsyncSession, rows: Sequence[Row]) -> Mark:
    """Link these rows to the end of the chain, and say where it ends now. Raises: BrokenChain."""
    head = await locked_head(db)
    await _compare_with_seen(db, head)
    seq, digest = head
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


# Where the chain ended when this process last saw it, by engine. Tables that were emptied or put back to an older state
# verify in themselves; whoever has seen what came after knows better, as long as it runs.
_seen: WeakKeyDictionary[object, Mark] = WeakKeyDictionary()


def remember(engine: object, head: Mark) -> None:
    """For what is committed."""
    if head.seq >= _seen.get(engine, ORIGIN).seq:  # two commits may be told in the other order
        _seen[engine] = head


async def _compare_with_seen(db: AsyncSession, head: Mark) -> None:
    seen = _seen.get(db.get_bind(), ORIGIN)
    if seen in (ORIGIN, head):
        return
    if seen.seq < head.seq:  # others have added since
        there = await db.scalar(select(EVENTS.c.hash).where(EVENTS.c.seq == seen.seq))
        if there == seen.hash or (there is None and (await read_start(db)).seq >= seen.seq):
            return
    raise BrokenChain(seen.seq, f"is not there as this process has seen it (--head {seen})")
