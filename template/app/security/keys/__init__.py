"""API keys: programs authenticate with `X-API-Key`. A key is of one account and limited to scopes (least privilege).

The database holds the SHA-256 of a key: 256 random bits need no slow hash (ASVS 5.0 V11.4.1, V13.3.4). Every key
expires, after a year at most. The response to an invalid key is the same for every reason.
"""

import contextlib
import hmac
from datetime import datetime, timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from app.database import Database, changed_rows
from app.security.access.accounts import configured_roles, token_hash
from app.security.access.credentials import Credential, InvalidCredential, Principal, context_in, credentials_of
from app.security.access.policy import Policies
from app.security.core.events import Event, record_change
from app.security.core.settings import environment
from app.security.core.tables import Account, AccountRole, ApiKey, utc_now
from app.security.keys.store import MODES, parse

HEADER = "X-API-Key"
USE_WRITTEN_EVERY = timedelta(minutes=5)
_DUMMY_HASH = token_hash("")  # compared with where there is no row

# Built once: building this statement costs as much as executing it.
_BY_PUBLIC_ID = (
    select(ApiKey.__table__, Account.name.label("owner"), Account.kind, Account.is_active, AccountRole.role)
    .join(Account, ApiKey.account_id == Account.id)
    .outerjoin(AccountRole, AccountRole.account_id == Account.id)
    .where(ApiKey.public_id == bindparam("public_id"))
)


class KeyInHeader:
    """The credential kind of API keys."""

    name = "api_key"
    header = HEADER.lower().encode()
    challenge = "APIKey"
    always_limited = True

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """The owner of a key, and when the key expires. Raises: InvalidCredential, for noise without a query."""
        mode, public_id = parse(credential) or ("", "")
        if mode != MODES[environment()]:
            raise InvalidCredential("key_of_another_environment" if mode else "key_format")
        database: Database = connection.state.database
        async with database.read() as db:
            rows = (await db.execute(_BY_PUBLIC_ID, {"public_id": public_id})).all()
        row: Any = rows[0] if rows else None
        # Compare in constant time, with a dummy where there is no such key.
        if not hmac.compare_digest(token_hash(credential), row.key_hash if row else _DUMMY_HASH) or row is None:
            raise InvalidCredential("key_unknown")
        context = context_in(connection.scope)
        context.actor, context.credential = str(row.account_id), row.id  # also where it is refused
        if row.expires_at <= utc_now():
            reported = credentials_of(connection).reported_refusals
            reported.record(f"{row.id} expired", Event.KEY_EXPIRED_USE, subject=str(row.id))
            raise InvalidCredential("key_expired")
        if row.revoked_at is not None or not row.is_active:
            raise InvalidCredential("key_revoked" if row.revoked_at else "account_disabled")
        await _note_use(database, row)
        principal = Principal(
            id=row.account_id,
            name=row.owner,
            kind=row.kind,
            roles=configured_roles(found.role for found in rows),
            scopes=frozenset(row.scopes.split()),
            credential=Credential(self.name, row.id, None),
        )
        return principal, row.expires_at

    def openapi_scheme(self, scopes: dict[str, str]) -> dict[str, Any]:
        return {"type": "apiKey", "in": "header", "name": HEADER}


async def _note_use(database: Database, row: Any) -> None:
    """Store when a key was used, at most every five minutes."""
    now, before = utc_now(), row.last_used_at
    if before is not None and now - before < USE_WRITTEN_EVERY:
        return
    unchanged = ApiKey.last_used_at.is_(None) if before is None else ApiKey.last_used_at == before
    written = update(ApiKey).where(ApiKey.id == row.id, unchanged).values(last_used_at=now)
    with contextlib.suppress(SQLAlchemyError):  # a busy database must not refuse a valid key
        async with database.begin() as db:
            if await changed_rows(db, written) and before is None:
                record_change(db, Event.KEY_FIRST_USE, actor=row.account_id, subject=row.id)


def _unreachable(app: FastAPI, policies: Policies) -> list[str]:
    """Routes that require no scope, in an app where every credential is limited to scopes."""
    if not all(kind.always_limited for kind in app.state.credentials.kinds):
        return []
    return [
        f"{policy.name} requires no scope, and every credential is limited to scopes: add require_scope(…) or public"
        for policy in policies.all
        if policy.guarded and not policy.scopes
    ]


def install(app: FastAPI) -> None:
    app.state.credentials.kinds.append(KeyInHeader())
    app.state.hooks.checks.append(_unreachable)
