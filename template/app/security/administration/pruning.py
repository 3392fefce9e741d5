"""Rows that say nothing any more are removed once a day: ended sessions, old invitations, addresses and counters.

Every process does so, each at its own time; whoever comes second finds nothing (ASVS 5.0 V14.2.7).
"""

import asyncio
import contextlib
import logging
import secrets
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute

from app.database import Database, changed_rows
from app.security.access.policy import hooks_of
from app.security.authentication import throttle_buckets
from app.security.authentication.throttle import KNOWN_FOR
from app.security.core.tables import KnownAddress, OneTimeToken, Session, ThrottleBucket, utc_now

EVERY = timedelta(days=1)
FIRST_AFTER_SECONDS = (60, 600)  # of the start, at random, so that processes that start together do not prune together
ENDED_KEPT = timedelta(days=30)  # that a session is kept after its end, for whoever looks into an attack
ROWS_AT_ONCE = 1000  # in one transaction: others wait for it
log = logging.getLogger(__name__)


def _outlived() -> list[tuple[InstrumentedAttribute[Any], ColumnElement[bool]]]:
    """By which column rows are found, and which of them go. Refresh tokens go with their session."""
    now = utc_now()
    ended = now - ENDED_KEPT
    return [
        (Session.id, or_(Session.ended_at < ended, Session.expires_at < ended)),
        (OneTimeToken.id, OneTimeToken.expires_at < ended),
        (KnownAddress.address_hash, KnownAddress.last_login_at < now - KNOWN_FOR),
        (ThrottleBucket.key_hash, throttle_buckets.is_stale()),
    ]


async def prune(database: Database) -> int:
    """Remove what has outlived its use, part by part, and say how many rows those were."""
    removed = 0
    for key, gone in _outlived():
        while True:
            async with database.begin() as db:
                some = key.in_(select(key).where(gone).limit(ROWS_AT_ONCE))
                number = await changed_rows(db, delete(key.class_).where(some, gone))
            removed += number
            if number < ROWS_AT_ONCE:
                break
    return removed


async def _prune_daily(database: Database) -> None:
    first, last = FIRST_AFTER_SECONDS
    await asyncio.sleep(first + secrets.randbelow(last - first))
    while True:
        try:
            log.info("removed %s rows that have outlived their use", await prune(database))
        except (SQLAlchemyError, OSError) as error:  # tomorrow is soon enough
            log.warning("could not remove old rows: %s", type(error).__name__)
        await asyncio.sleep(EVERY.total_seconds())


async def _start(app: FastAPI) -> None:
    app.state.pruning = asyncio.create_task(_prune_daily(app.state.database))


async def _end(app: FastAPI) -> None:
    app.state.pruning.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await app.state.pruning


def install(app: FastAPI) -> None:
    hooks_of(app).at_start.append(_start)
    hooks_of(app).at_end.append(_end)
