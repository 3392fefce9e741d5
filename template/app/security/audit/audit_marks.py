"""Where the audit chain ends ("head") and after which row it starts ("start"): two signed marks, and its lock."""

import hmac
from typing import Any, NamedTuple, cast

from sqlalchemy import Select, Table, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database import changed_rows
from app.security.audit.audit_key import AuditKey, audit_keys, current_key
from app.security.core.tables import AuditChain, AuditEvent

EVENTS, CHAIN = cast(Table, AuditEvent.__table__), cast(Table, AuditChain.__table__)
Connection = AsyncSession | AsyncConnection


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


def _signed(name: str, mark: Mark) -> list[bytes]:
    return [name.encode(), str(mark.seq).encode(), b":", mark.hash]


def _signer(name: str, mark: Mark, mac: bytes) -> AuditKey | None:
    parts = _signed(name, mark)
    return next((key for key in audit_keys().values() if hmac.compare_digest(key.sign(*parts), mac)), None)


async def read_mark(db: Connection, name: str) -> tuple[Mark, AuditKey] | None:
    """A mark and the key that signed it, or None where it was never written. Raises: BrokenChain, for one not by us."""
    found: Select[Any] = select(CHAIN).where(CHAIN.c.name == name)
    seq = 0
    try:
        row = (await db.execute(found)).one_or_none()
        if row is None:
            return None
        seq, mark = row.seq, Mark(row.seq, row.hash)
        key = _signer(name, mark, row.mac)
    except TypeError:  # no bytes at all: SQLite keeps anything
        key = None
    if key is None:
        raise BrokenChain(seq, f"is named by a {name} that was not written with a key of ours")
    return mark, key


async def read_start(db: Connection) -> Mark:
    """After which place the chain starts. Raises: BrokenChain."""
    found = await read_mark(db, "start")
    return found[0] if found else ORIGIN


async def read_head(db: Connection) -> Mark:
    """Where the chain ends. Raises: BrokenChain."""
    found = await read_mark(db, "head")
    return found[0] if found else await _before_the_first(db)


async def _before_the_first(db: Connection) -> Mark:
    if await db.scalar(select(exists(select(EVENTS.c.seq)))) or await read_mark(db, "start"):
        raise BrokenChain(1, "is there, and no head")
    return ORIGIN


def _values(name: str, mark: Mark) -> dict[str, Any]:
    return {"name": name, "seq": mark.seq, "hash": mark.hash, "mac": current_key().sign(*_signed(name, mark))}


async def write_mark(db: AsyncSession, name: str, mark: Mark) -> None:
    """For who holds the lock."""
    values = _values(name, mark)
    if not await changed_rows(db, update(CHAIN).where(CHAIN.c.name == name).values(values)):
        await db.execute(insert(CHAIN).values(values))


async def lock(db: AsyncSession) -> bool:
    """Hold the head, whatever it says, and say whether there was one: whoever comes second waits for the first."""
    if await db.scalar(select(CHAIN.c.name).where(CHAIN.c.name == "head").with_for_update()):
        return True
    try:
        async with db.begin_nested():
            await db.execute(insert(CHAIN).values(_values("head", ORIGIN)))  # never an update: another may be faster
    except IntegrityError:
        return await lock(db)
    return False


async def locked_head(db: AsyncSession) -> Mark:
    """Where the chain ends, for who changes that. Raises: BrokenChain."""
    return await read_head(db) if await lock(db) else await _before_the_first(db)
