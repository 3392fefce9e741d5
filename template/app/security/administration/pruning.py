"""Pruning: expired rows are deleted once a day: sessions, invitations, API keys, known addresses, throttle counters.

Every process does so at a random time (ASVS 5.0 V14.2.7). Rows of the audit log: `audit/retention.py`.
"""

import asyncio
import logging
import secrets
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute

from app.database import Database, changed_rows
from app.security.authentication import sessions, throttle
from app.security.core.tables import ApiKey, KnownAddress, OneTimeToken, Session, ThrottleBucket, utc_now

EVERY = timedelta(days=1)
FIRST_WITHIN_SECONDS = 600  # at random, so that processes that start together do not prune together
ENDED_KEPT = timedelta(days=30)  # ended sessions and keys, for the investigation of an attack
ROWS_AT_ONCE = 1000  # in one transaction, for others wait for it
log = logging.getLogger(__name__)


def _expired() -> list[tuple[InstrumentedAttribute[Any], ColumnElement[bool]]]:
    """The key of each table and its expired rows. Refresh tokens are deleted with their session."""
    now = utc_now()
    ended, idle = now - ENDED_KEPT, timedelta(days=sessions.SessionSettings.current().session_idle_days)
    return [
        (Session.id, or_(Session.ended_at < ended, Session.expires_at < ended, Session.last_used_at < ended - idle)),
        (OneTimeToken.id, OneTimeToken.expires_at < ended),
        (ApiKey.id, or_(ApiKey.revoked_at < ended, ApiKey.expires_at < ended)),
        (KnownAddress.address_hash, KnownAddress.last_login_at < now - throttle.KNOWN_ADDRESS_LIFE),
        (ThrottleBucket.key_hash, throttle.is_stale()),
    ]


async def prune(database: Database) -> int:
    """Delete expired rows in batches. Returns their number."""
    removed = 0
    for key, expired in _expired():
        number = ROWS_AT_ONCE
        while number >= ROWS_AT_ONCE:
            async with database.begin() as db:
                batch = key.in_(select(key).where(expired).limit(ROWS_AT_ONCE))
                number = await changed_rows(db, delete(key.class_).where(batch, expired))
            removed += number
    return removed


async def prune_daily(app: FastAPI) -> None:
    await asyncio.sleep(secrets.randbelow(FIRST_WITHIN_SECONDS))
    while True:
        try:
            log.info("removed %s expired rows", await prune(app.state.database))
        except (SQLAlchemyError, OSError) as error:  # tomorrow is soon enough
            log.warning("could not remove expired rows: %s", type(error).__name__)
        await asyncio.sleep(EVERY.total_seconds())
