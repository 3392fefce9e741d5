"""Passwords: policy, and Argon2id hashing off the event loop in a bounded number of threads.

At equal costs, verifying takes as long for an unknown name as for a wrong password: timing enumerates no users (ASVS
5.0 V6.3.8). The queue is bounded, so a login flood exhausts neither the event loop nor the memory (V15.2.2, V15.4.4).
The policy is NIST SP 800-63B-4 section 3.1.1.2: length, no composition rules, a minimum score of zxcvbn (ASVS V6.2).
"""

import asyncio
import contextlib
import os
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.context import CryptContext
from pydantic import Field

from app.security.access.accounts import AccountError
from app.security.core.problems import Problem
from app.security.core.settings import NAME, SLUG, SecuritySettings
from app.security.core.tables import normalise_login

T = TypeVar("T")
MAXIMUM_LENGTH = 128  # code points
QUEUE = 32  # jobs that may wait for a thread
SIGNS, SIGNS_AND_DIGITS = r"[\W_]", r"[\W_\d]"
MINIMUM_OWN_LETTERS = 5  # letters that a password has besides the names in it
SCORED_LENGTH = 20  # of a crafted password of 32 characters zxcvbn takes seconds
MINIMUM_SCORE = 3  # of zxcvbn's 0 to 4


class PasswordSettings(SecuritySettings):
    """The costs of Argon2id, with the OWASP minimum as their floor, and the minimum length."""

    argon2_memory_kib: int = Field(19456, ge=19456)
    argon2_iterations: int = Field(2, ge=2)
    argon2_parallelism: int = Field(1, ge=1)
    allow_8_char_passwords: bool = False

    @property
    def minimum_length(self) -> int:
        return 8 if self.allow_8_char_passwords else 15


class WeakPassword(AccountError):
    """A new password that the policy refuses. The message gives the reason and quotes nothing."""

    status = 422


class PasswordHasher:
    """Hash, verify and judge passwords. One per app."""

    def __init__(self, settings: PasswordSettings, *service_names: str) -> None:
        self._settings = settings
        self._service_names = service_names
        self._passlib = CryptContext(
            ["argon2"],
            argon2__type="ID",
            argon2__memory_cost=settings.argon2_memory_kib,
            argon2__time_cost=settings.argon2_iterations,
            argon2__parallelism=settings.argon2_parallelism,
        )
        self._passlib.dummy_verify()  # makes its hash now: the first unknown name must not take longer
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, "passwords", _lower_priority)
        self._jobs = 0

    async def hash(self, password: str) -> str:
        """The PHC string of a new password. Raises: Problem 503 when the queue is full."""
        return await self._in_thread(lambda: str(self._passlib.hash(_normalise(password))))

    async def verify(self, password: str, stored: str | None) -> str | None:
        """The hash to store from now on; None if wrong, or after the same time without one. Raises: Problem 503."""
        password = _normalise(password)
        return await self._in_thread(lambda: self._verify(password, stored))

    async def check_strength(self, password: str, *names: str) -> None:
        """Check a new password against the policy; `names` are those of its owner. Raises: WeakPassword."""
        password, minimum = _normalise(password), self._settings.minimum_length
        if not minimum <= len(password) <= MAXIMUM_LENGTH:
            raise WeakPassword(f"Use {minimum} to {MAXIMUM_LENGTH} characters.")
        words = _words((NAME, SLUG, *self._service_names, *names))
        text = rest = re.sub(SIGNS, "", normalise_login(password))
        for word in sorted(words, key=len, reverse=True):
            rest = rest.replace(word, "")
        if rest != text and sum(map(str.isalpha, rest)) < MINIMUM_OWN_LETTERS:
            raise WeakPassword("Too easy to guess: built from this service's or your own name.")
        if await self._in_thread(lambda: _score(password, words)) < MINIMUM_SCORE:
            raise WeakPassword("This is easy to guess; several unrelated words are not.")

    def _verify(self, password: str, stored: str | None) -> str | None:
        known = stored if len(password) <= MAXIMUM_LENGTH else None  # passlib takes as long for None
        try:
            right, renewed = self._passlib.verify_and_update(password, known)
        except ValueError:  # a hash that passlib cannot read, such as that of an account without a password
            right, renewed = self._passlib.verify_and_update(password, None)
        return renewed or stored if right else None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._jobs >= self._threads + QUEUE:
            raise Problem(503, detail="Too many logins at once; try again.", headers={"Retry-After": "1"})
        job = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._jobs += 1
        job.add_done_callback(self._done)  # not in a `finally`: the thread outlives a cancelled request
        return await job

    def _done(self, job: object) -> None:
        self._jobs -= 1


def _normalise(password: str) -> str:
    """NFC and nothing else (RFC 8265 section 4.2), unless far too long: normalising takes quadratic time."""
    return unicodedata.normalize("NFC", password) if len(password) <= 4 * MAXIMUM_LENGTH else password


def _lower_priority() -> None:
    """Run this hashing thread below the event loop; on Linux, each thread has a priority of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _words(names: Iterable[str]) -> frozenset[str]:
    """The words in these names, with and without their digits: a customer number is a name, too."""
    parts = [normalise_login(part) for name in names for part in (name, *re.split(r"[@.\s_-]", name))]
    found = {re.sub(removed, "", part) for part in parts for removed in (SIGNS, SIGNS_AND_DIGITS)}
    return frozenset(word for word in found if len(word) >= 3)


def _score(password: str, words: Iterable[str]) -> int:
    """zxcvbn's score, 0 to 4: common words, repeats, sequences, keyboard walks."""
    import zxcvbn  # 25 MiB of common words, for the processes that set a password

    return int(zxcvbn.zxcvbn(password[:SCORED_LENGTH], user_inputs=list(words))["score"])
