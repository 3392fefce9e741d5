"""Access tokens: signed JWTs of one session (RFC 9068), strictly verified (RFC 8725; ASVS 5.0 V9.1, V9.2).

A token must be, byte for byte, one that we would issue. Its header is looked up, not parsed: that rules out every other
algorithm, type, key id and `crit`. python-jose checks the signature, a strict pydantic model the claims, which must
serialise to the same bytes again: that rules out duplicate names and other spellings. The account and session are
then read from the database.
"""

import hashlib
import re
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal
from uuid import UUID, uuid4

from jose import jwk, jws
from jose.backends.base import Key
from jose.exceptions import JWSError
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import bindparam, select
from starlette.requests import HTTPConnection

from app.database import Database
from app.security.access.accounts import configured_roles
from app.security.access.credentials import Credential, InvalidCredential, Principal, context_in
from app.security.core.settings import SLUG, SecuritySettings, ServiceSettings, keys_for
from app.security.core.tables import Account, AccountRole, Session

ALGORITHM = "HS256"
CLIENT_ID: Literal["first-party"] = "first-party"
LEEWAY_SECONDS = 10
LONGEST_LIFE_SECONDS = 15 * 60

# The last of the signature's 43 characters has two unused bits, which must be zero: one spelling for one token.
_TOKEN = re.compile(r"[\w-]{1,512}\.[\w-]{1,3072}\.[\w-]{42}[AEIMQUYcgkosw048]\Z", re.ASCII)


class TokenSettings(SecuritySettings):
    access_token_minutes: int = Field(10, ge=1, le=15)


class Claims(BaseModel, strict=True, frozen=True):
    """The claims of a verified token. Roles and scopes here only ever limit what the database grants."""

    iss: str
    aud: str
    sub: UUID
    client_id: Literal["first-party"]
    iat: int
    nbf: int
    exp: int
    jti: UUID
    sid: UUID
    ver: int
    auth_time: int
    scope: str
    roles: list[str]
    narrowed: bool = False  # requested with fewer scopes than the account may use

    def encoded(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()


@cache
def _ring(keys: tuple[bytes, ...]) -> dict[str, tuple[dict[str, str], Key]]:
    """The keys by the header segment of the tokens that they sign, the current one first."""
    ring = {}
    for secret in keys:
        header = {"typ": "at+jwt", "kid": hashlib.sha256(secret).hexdigest()[:8]}
        key = jwk.construct(secret, ALGORITHM)  # a typed key: python-jose would guess what raw bytes are
        ring[jws.sign(b"", key, header, ALGORITHM).partition(".")[0]] = (header, key)
    return ring


def issue(session: Session, version: int, roles: frozenset[str], scopes: frozenset[str], *, narrowed: bool) -> str:
    """A signed access token of a session; `version` is the account's `token_version`."""
    now = int(time.time())
    claims = Claims(
        iss=ServiceSettings.current().public_base_url,
        aud=SLUG,
        sub=session.account_id,
        client_id=CLIENT_ID,
        iat=now,
        nbf=now,
        exp=now + 60 * TokenSettings.current().access_token_minutes,
        jti=uuid4(),
        sid=session.id,
        ver=version,
        auth_time=int(session.created_at.timestamp()),
        scope=" ".join(sorted(scopes)),
        roles=sorted(roles),
        narrowed=narrowed,
    )
    header, key = next(iter(_ring(tuple(keys_for("jwt"))).values()))
    return str(jws.sign(claims.encoded(), key, header, ALGORITHM))


def verify(token: str) -> Claims:
    """The claims of a token that is ours and valid now. Raises: InvalidCredential."""
    if not _TOKEN.match(token):
        raise InvalidCredential("token_format")
    found = _ring(tuple(keys_for("jwt"))).get(token.partition(".")[0])
    if found is None:
        raise InvalidCredential("token_header")
    try:
        payload = jws.verify(token, found[1], [ALGORITHM])
        claims = Claims.model_validate_json(payload)
    except JWSError:
        raise InvalidCredential("token_signature") from None
    except ValidationError:
        raise InvalidCredential("token_claims") from None
    if claims.encoded() != payload:
        raise InvalidCredential("token_encoding")
    if (claims.iss, claims.aud) != (ServiceSettings.current().public_base_url, SLUG):
        raise InvalidCredential("token_audience")
    now, too_long = time.time(), claims.exp - claims.iat > LONGEST_LIFE_SECONDS
    if claims.exp <= now - LEEWAY_SECONDS or max(claims.iat, claims.nbf) > now + LEEWAY_SECONDS or too_long:
        raise InvalidCredential("token_time")
    return claims


# Built once: building it costs as much as executing it.
_LIVE_SESSION = (
    select(Account.name, Account.token_version, AccountRole.role)
    .add_columns(Session.created_at, Session.scopes, Session.expires_at)
    .join(Session, Session.account_id == Account.id)
    .outerjoin(AccountRole, AccountRole.account_id == Account.id)
    .where(Account.id == bindparam("account"), Session.id == bindparam("session"))
    .where(Account.is_active, Session.ended_at.is_(None))
)


class BearerToken:
    """`Authorization: Bearer …` as a kind of credential."""

    name = "bearer"
    header = b"authorization"
    challenge = "Bearer"
    always_limited = False

    async def verify(self, credential: str, connection: HTTPConnection) -> tuple[Principal, datetime]:
        """The account and session of a token, and when it expires. Raises: InvalidCredential."""
        claims = verify(credential)
        context = context_in(connection.scope)
        context.actor, context.credential = str(claims.sub), claims.sid  # also where it is refused
        database: Database = connection.state.database
        async with database.read() as db:
            rows = (await db.execute(_LIVE_SESSION, {"account": claims.sub, "session": claims.sid})).all()
        if not rows or rows[0].token_version != claims.ver or rows[0].expires_at <= datetime.now(UTC):
            raise InvalidCredential("session_ended")
        scopes = frozenset(claims.scope.split()) if claims.narrowed else None
        if rows[0].scopes is not None:  # the login was limited to these
            scopes = frozenset(claims.scope.split()) & frozenset(rows[0].scopes.split())
        principal = Principal(
            id=claims.sub,
            name=rows[0].name,
            kind="person",
            # Removing a role takes effect at once, adding one with the next token (ASVS 5.0 V8.3.2).
            roles=frozenset(claims.roles) & configured_roles(row.role for row in rows),
            scopes=scopes,
            credential=Credential(self.name, claims.sid, rows[0].created_at, claims.ver),
        )
        return principal, datetime.fromtimestamp(claims.exp, UTC)

    def openapi_scheme(self, scopes: dict[str, str]) -> dict[str, Any]:
        flow = {"tokenUrl": "auth/token", "refreshUrl": "auth/token", "scopes": scopes}
        how = "Type name and password; leave client_id, client_secret and the scopes empty."
        return {"type": "oauth2", "description": how, "flows": {"password": flow}}
