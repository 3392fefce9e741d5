"""Passwords: Argon2id, off the event loop, in as many threads as there are cores, with a bounded queue.

A wrong password, an odd one and an unknown name cost the same, so nobody learns who exists (ASVS 5.0 V6.3.8); and a
flood of log-ins takes neither the loop nor the memory (V15.2.2, V15.4.4).
"""

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from typing import TypeVar

from fastapi import FastAPI
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.policy import Policies, hooks_of
from app.security.authentication.password_policy import guessability, is_made_of, words_of
from app.security.core.problems import Problem
from app.security.core.settings import SecuritySettings
from app.security.core.tables import UNUSABLE_PASSWORD

with warnings.catch_warnings():  # passlib's last release is older than Python's and argon2's warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    from passlib.context import CryptContext
    from passlib.exc import UnknownHashError

T = TypeVar("T")
log = logging.getLogger(__name__)
SHORT_PASSWORDS = "passwords of 8 characters are accepted (ALLOW_8_CHAR_PASSWORDS)"
MAXIMUM_LENGTH = 128  # code points
QUEUE = 32  # jobs that may wait for a thread


class PasswordSettings(SecuritySettings):
    argon2_memory_kib: int = Field(19456, ge=19456)  # the OWASP minimum is the floor
    argon2_iterations: int = Field(2, ge=2)
    argon2_parallelism: int = Field(1, ge=1)
    allow_8_char_passwords: bool = False

    @property
    def minimum_length(self) -> int:
        return 8 if self.allow_8_char_passwords else 15


class WeakPassword(ValueError):
    """A new password that the policy refuses; the message says why and quotes nothing."""


@lru_cache(maxsize=4)
def _context(memory: int, iterations: int, parallelism: int) -> tuple[CryptContext, str]:
    """The hashing context, and a hash of nothing to verify against where there is none (same cost)."""
    context = CryptContext(
        ["argon2"],
        argon2__type="ID",
        argon2__memory_cost=memory,
        argon2__time_cost=iterations,
        argon2__parallelism=parallelism,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return context, context.hash(secrets.token_hex(16))


def normalise(password: str) -> str:
    """NFC and nothing else (RFC 8265 section 4.2, OpaqueString)."""
    return unicodedata.normalize("NFC", password)


def _bounded(password: str) -> str:
    """The normalised password; what is far too long stays as it is: normalising takes its square."""
    return normalise(password) if len(password) <= 4 * MAXIMUM_LENGTH else password


def _is_possible(password: str) -> bool:
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return len(password) <= MAXIMUM_LENGTH


class PasswordHasher:
    def __init__(self, settings: PasswordSettings, *service_names: str) -> None:
        self._settings = settings
        self._service_names = service_names
        costs = (settings.argon2_memory_kib, settings.argon2_iterations, settings.argon2_parallelism)
        self._passlib, self._nobody = _context(*costs)
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, "passwords", _yield_to_the_event_loop, (count(),))
        self._jobs = 0

    async def hash(self, password: str) -> str:
        """The PHC string of a new password. Raises: Problem 503 when too many wait."""
        return await self._in_thread(lambda: str(self._passlib.hash(normalise(password))))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password is the stored one; without a usable hash it takes as long, and is not."""
        return await self._in_thread(lambda: self._verify(_bounded(password), stored))

    def is_outdated(self, stored: str) -> bool:
        """Whether this hash was made with other costs than today's."""
        return bool(self._passlib.needs_update(stored))

    async def judge(self, password: str, *names: str) -> None:
        """Check a new password: length, and how guessable it is (NIST SP 800-63B-4 section 3.1.1.2).

        Raises: WeakPassword.
        """
        password = _bounded(password)
        minimum = self._settings.minimum_length
        if not minimum <= len(password) <= MAXIMUM_LENGTH or not _is_possible(password):
            raise WeakPassword(f"Use {minimum} to {MAXIMUM_LENGTH} characters.")
        words = words_of((*self._service_names, *names))
        if is_made_of(words, password):
            raise WeakPassword("Too easy to guess: built from this service's or your own name.")
        if await self._in_thread(lambda: guessability(password, words)) < 3:
            raise WeakPassword("This is easy to guess; several unrelated words are not.")

    def _verify(self, password: str, stored: str | None) -> bool:
        if stored in (None, UNUSABLE_PASSWORD) or not _is_possible(password):
            self._passlib.verify("nobody", self._nobody)
            return False
        try:
            return bool(self._passlib.verify(password, stored))
        except (UnknownHashError, ValueError):
            self._passlib.verify("nobody", self._nobody)
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._jobs >= self._threads + QUEUE:
            raise Problem(503, detail="Too many log-ins at once; try again.", headers={"Retry-After": "1"})
        job = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._jobs += 1
        job.add_done_callback(self._done)  # also when the caller has gone: the thread is still at work
        return await job

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)

    def _done(self, job: object) -> None:
        self._jobs -= 1


def _yield_to_the_event_loop(turns: Iterator[int]) -> None:
    """Let other requests go first where a core is short: on Linux a thread has a priority of its own.

    All but the first thread run only where nothing else wants to, so that the event loop takes their core at once; the
    first one is merely nice, so that log-ins go on, slowly, on a machine that is busy with other requests.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        if next(turns) == 0:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        else:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def install(app: FastAPI) -> None:
    settings = PasswordSettings.current()
    if settings.allow_8_char_passwords:
        log.warning(SHORT_PASSWORDS)
    app.state.passwords = PasswordHasher(settings, app.title)
    hooks_of(app).at_end.append(_on_end)
    hooks_of(app).hints.append(_hints)


async def _hints(db: AsyncSession, policies: Policies) -> list[str]:
    return [SHORT_PASSWORDS] if PasswordSettings.current().allow_8_char_passwords else []


async def _on_end(app: FastAPI) -> None:
    app.state.passwords.close()
