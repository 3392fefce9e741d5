"""Access tokens as a credential: `Authorization: Bearer …`, checked against the account and session of this moment."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, select
from starlette.requests import HTTPConnection

from app.database import Database
from app.security.access.context import Headers
from app.security.access.credentials import Credential, InvalidCredential, Principal
from app.security.access.known_roles import believed
from app.security.authentication import tokens
from app.security.authentication.tokens import Claims
from app.security.core.tables import Account, AccountRole, Session

LOG_IN_AT = "auth/token"

# Built once: to build it costs as much as to execute it.
_LIVE_SESSION = (
    select(Account.name, Account.token_version, AccountRole.role)
    .add_columns(Session.created_at, Session.scopes, Session.expires_at)
    .join(Session, Session.account_id == Account.id)
    .outerjoin(AccountRole, AccountRole.account_id == Account.id)
    .where(Account.id == bindparam("account"), Session.id == bindparam("session"))
    .where(Account.is_active, Session.ended_at.is_(None))
)


class BearerToken:
    name = "bearer"
    challenge = "Bearer"
    always_limited = False

    def read(self, headers: Headers) -> str | None:
        """The token in the Authorization header, and nowhere else (RFC 9700 section 4.3.2)."""
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        return token.strip(" ") if scheme.lower() == "bearer" else None

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """Whose token it is and when it ends. Raises: InvalidCredential."""
        claims = tokens.verify(credential)
        database: Database = connection.state.database
        async with database.read() as db:
            rows = (await db.execute(_LIVE_SESSION, {"account": claims.account, "session": claims.session})).all()
        if not rows or rows[0].token_version != claims.version or rows[0].expires_at <= datetime.now(UTC):
            raise InvalidCredential("session_ended")
        granted = None if rows[0].scopes is None else frozenset(rows[0].scopes.split())
        principal = Principal(
            id=claims.account,
            name=rows[0].name,
            kind="person",
            # Removing a role holds at once, adding one at the next token (ASVS 5.0 V8.3.2).
            roles=claims.roles & believed(row.role for row in rows),
            scopes=_effective(claims, granted),
            credential=Credential(self.name, claims.session, rows[0].created_at),
        )
        return principal, datetime.fromtimestamp(claims.expires_at, UTC)

    def openapi_scheme(self, scopes: list[str]) -> dict[str, Any]:
        flow = {"tokenUrl": LOG_IN_AT, "refreshUrl": LOG_IN_AT, "scopes": {scope: scope for scope in scopes}}
        return {"type": "oauth2", "flows": {"password": flow}}


def _effective(claims: Claims, granted: frozenset[str] | None) -> frozenset[str] | None:
    if granted is None:
        return claims.scopes if claims.narrowed else None
    return claims.scopes & granted
