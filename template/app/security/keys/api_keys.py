"""API keys: programs call with `X-API-Key`. A key belongs to an account and may do what its scopes say, nothing else.

Stored is the SHA-256 of a key: 256 random bits need no slow hash (ASVS 5.0 V11.4.1, V13.3.4). Every key ends, after a
year at most. Whatever is wrong with a key, the answer is the same.
"""

import contextlib
import hmac
from datetime import datetime, timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app.database import Database, changed_rows
from app.security.access import credentials
from app.security.access.accounts import token_hash
from app.security.access.credentials import Credential, InvalidCredential, Principal
from app.security.access.known_roles import believed
from app.security.access.policy import Policies
from app.security.admission.request_shape import Headers
from app.security.core import events
from app.security.core.events import Event
from app.security.core.hooks import hooks_of
from app.security.core.settings import environment
from app.security.core.tables import Account, AccountRole, ApiKey, utc_now
from app.security.keys.key_format import MODES, parse
from app.security.keys.store import is_live

HEADER = "X-API-Key"
USE_WRITTEN_EVERY = timedelta(minutes=5)
_NOTHING = token_hash("")  # compared with where there is no row


# Built once: to build it costs as much as to execute it.
_BY_PUBLIC_ID = (
    select(ApiKey.__table__, Account.name.label("owner"), Account.kind, Account.is_active, AccountRole.role)
    .join(Account, ApiKey.account_id == Account.id)
    .outerjoin(AccountRole, AccountRole.account_id == Account.id)
    .where(ApiKey.public_id == bindparam("public_id"))
)


class KeyInHeader:
    name = "api_key"
    challenge = "APIKey"
    always_limited = True

    def __init__(self) -> None:
        self.mode = MODES[environment()]

    def read(self, headers: Headers) -> str | None:
        """The key in its header, and nowhere else."""
        value = headers.get(b"x-api-key")
        return None if value is None else value.decode("latin-1")

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """Whose key it is and when it ends. Raises: InvalidCredential; for noise without a query."""
        parsed = parse(credential)
        if parsed is None or parsed.mode != self.mode:
            raise InvalidCredential("key_format" if parsed is None else "key_of_another_environment")
        database: Database = connection.state.database
        async with database.read() as db:
            rows = (await db.execute(_BY_PUBLIC_ID, {"public_id": parsed.public_id})).all()
        stored = rows[0].key_hash if rows else _NOTHING
        if not hmac.compare_digest(token_hash(credential), stored) or not rows:
            raise InvalidCredential("key_unknown")
        self._check_state(rows[0])
        await _note_use(database, rows[0])
        return self._principal(rows), rows[0].expires_at

    def _check_state(self, row: Any) -> None:
        if row.expires_at <= utc_now():
            events.record(Event.KEY_EXPIRED_USE, outcome="failure", actor=row.account_id, subject=row.id)
            raise InvalidCredential("key_expired")
        if row.revoked_at is not None or not row.is_active:
            raise InvalidCredential("key_revoked" if row.revoked_at else "account_disabled")

    def _principal(self, rows: Any) -> Principal:
        return Principal(
            id=rows[0].account_id,
            name=rows[0].owner,
            kind=rows[0].kind,
            roles=believed(row.role for row in rows),
            scopes=frozenset(rows[0].scopes.split()),
            credential=Credential(self.name, rows[0].id, None),
        )

    def openapi_scheme(self, scopes: list[str]) -> dict[str, Any]:
        return {"type": "apiKey", "in": "header", "name": HEADER}


async def _note_use(database: Database, row: Any) -> None:
    """Write when a key was used, every five minutes at most."""
    now, before = utc_now(), row.last_used_at
    if before is not None and now - before < USE_WRITTEN_EVERY:
        return
    unchanged = ApiKey.last_used_at.is_(None) if before is None else ApiKey.last_used_at == before
    written = update(ApiKey).where(ApiKey.id == row.id, unchanged).values(last_used_at=now)
    with contextlib.suppress(SQLAlchemyError):  # a busy database is no reason to refuse a good key
        async with database.begin() as db:
            if await changed_rows(db, written) and before is None:
                events.record_change(db, Event.KEY_FIRST_USE, actor=row.account_id, subject=row.id)


async def _live_ones(db: AsyncSession, policies: Policies) -> list[str]:
    """For `manage doctor`: keys from before the feature was switched off open something again, and nobody was asked."""
    owners = select(Account.name, func.count()).join(ApiKey).where(*is_live()).group_by(Account.name)
    why = "they open something again since api_keys is on; revoke what you do not know: uv run manage keys revoke …"
    return [f"{number} live API keys of {name}: {why}" for name, number in await db.execute(owners)]


def install(app: FastAPI) -> None:
    credentials.add_kind(app, KeyInHeader())
    hooks_of(app).hints.append(_live_ones)
