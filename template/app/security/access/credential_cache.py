"""Who was verified in the last seconds, so that a busy caller costs neither a signature check nor a query.

Only what was fully verified is kept, for `AUTH_CACHE_SECONDS` at most and never longer than the credential lives. A
revocation drops its account's entries after its commit; a verification that began before that commit is not kept. So
a revocation holds at once in this process and after `AUTH_CACHE_SECONDS` in every other one (ASVS 5.0 V7.4.1).

Whose credential it was is remembered for some minutes longer, for those who count requests: a name, no authority.
"""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import Field

from app.security.core.settings import SecuritySettings

T = TypeVar("T")
CAPACITY = 10_000
NAME_SECONDS = 600.0  # that a credential's account is remembered after its last verification


class CacheSettings(SecuritySettings):
    auth_cache_seconds: float = Field(5, ge=0, le=30)  # 0 = every request asks the database


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    account: UUID
    until: float
    named_until: float


class CredentialCache(Generic[T]):
    def __init__(self, seconds: float, capacity: int = CAPACITY) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry[T]] = OrderedDict()
        self._accounts: dict[UUID, set[bytes]] = {}
        self._revocations = 0

    @staticmethod
    def key(kind: str, credential: str) -> bytes:
        return hashlib.sha256(f"{kind} {credential}".encode("utf-8", "surrogatepass")).digest()

    def get(self, key: bytes) -> T | None:
        entry = self._entries.get(key)
        return entry.value if entry is not None and entry.until > time.monotonic() else None

    def account_of(self, key: bytes) -> UUID | None:
        """Whose credential this was when it was last verified; nothing that its caller may do follows from it."""
        entry = self._entries.get(key)
        return entry.account if entry is not None and entry.named_until > time.monotonic() else None

    def begin(self) -> int:
        """To be called before a verification reads the database; its result goes to `keep`."""
        return self._revocations

    def keep(self, key: bytes, value: T, account: UUID, lifetime: float, begun: int) -> None:
        """Keep what was verified for at most `lifetime` seconds, unless anything was revoked since `begun`."""
        if lifetime <= 0 or begun != self._revocations:
            return
        self._drop(key)
        now = time.monotonic()
        self._entries[key] = _Entry(value, account, now + min(self._seconds, lifetime), now + NAME_SECONDS)
        self._accounts.setdefault(account, set()).add(key)
        if len(self._entries) > self._capacity:
            self._drop(next(iter(self._entries)))

    def forget(self, account: UUID) -> None:
        """Drop all that is known of an account. To be called after the commit that revoked something of it."""
        self._revocations += 1
        for key in tuple(self._accounts.get(account, ())):
            self._drop(key)

    def forget_name(self, key: bytes) -> None:
        """This credential was refused: it is nobody's any more."""
        self._drop(key)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        keys = self._accounts[entry.account]
        keys.discard(key)
        if not keys:
            del self._accounts[entry.account]
