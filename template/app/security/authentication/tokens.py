"""Access tokens: one way to make them, one strict way to verify them (RFC 8725, RFC 9068; ASVS 5.0 V9.1, V9.2).

python-jose checks the signature. What it lets through (no `aud`, no `exp`, `exp` now, a future `iat`, `crit`, any
`typ`, trailing bits, nested JSON that ends in RecursionError) is refused here, before and after it.
"""

import base64
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from jose import jwk, jwt
from jose.backends.base import Key
from pydantic import Field

from app.security.access.credentials import InvalidCredential
from app.security.core.secret_keys import keys_for
from app.security.core.settings import SLUG, SecuritySettings, ServiceSettings

ALGORITHM = "HS256"
TYPE = "at+jwt"
CLIENT_ID = "first-party"
LEEWAY_SECONDS = 10
LONGEST_LIFE_SECONDS = 15 * 60
LONGEST_TOKEN = 4096

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,512}\.[A-Za-z0-9_-]{1,3072}\.[A-Za-z0-9_-]{43}\Z")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_IDS = ("sub", "jti", "sid")
_NUMBERS = ("iat", "nbf", "exp", "ver", "auth_time")
_REQUIRED = ("iss", "aud", "sub", "iat", "nbf", "exp", "jti")


class TokenSettings(SecuritySettings):
    access_token_minutes: int = Field(10, ge=1, le=15)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Roles and scopes here only ever limit what the database grants."""

    account: UUID
    session: UUID
    version: int
    roles: frozenset[str]
    scopes: frozenset[str]
    narrowed: bool  # the credential was asked for with fewer scopes than its owner may have
    authenticated_at: int
    expires_at: int


@cache
def _ring(keys: tuple[bytes, ...]) -> dict[str, Key]:
    """Typed key objects by their id, the signing one first; never raw bytes, which jose would guess the kind of."""
    return {hashlib.sha256(key).hexdigest()[:8]: jwk.construct(key, ALGORITHM) for key in keys}


def _keys() -> dict[str, Key]:
    return _ring(tuple(keys_for("jwt")))


def lifetime_seconds() -> int:
    return TokenSettings.current().access_token_minutes * 60


def issue(
    *,
    account: UUID,
    session: UUID,
    version: int,
    roles: frozenset[str],
    scopes: frozenset[str],
    narrowed: bool,
    authenticated_at: datetime,
) -> str:
    """A signed access token of RFC 9068 for one session."""
    now = int(time.time())
    claims = {
        "iss": ServiceSettings.current().public_base_url,
        "aud": SLUG,
        "sub": str(account),
        "client_id": CLIENT_ID,
        "iat": now,
        "nbf": now,
        "exp": now + lifetime_seconds(),
        "jti": str(uuid.uuid4()),
        "sid": str(session),
        "ver": version,
        "auth_time": int(authenticated_at.timestamp()),
        "scope": " ".join(sorted(scopes)),
        "roles": sorted(roles),
        **({"narrowed": True} if narrowed else {}),
    }
    key_id, key = next(iter(_keys().items()))
    return str(jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": key_id}))


def verify(token: str) -> Claims:
    """What the token says, if it is one of ours and holds now. Raises: InvalidCredential, for whatever reason."""
    try:
        return _claims(_verified(token))
    except InvalidCredential:
        raise
    except Exception as error:  # RecursionError, TypeError, OverflowError, JWKError: all mean that it does not hold
        raise InvalidCredential(type(error).__name__) from None


def _verified(token: str) -> dict[str, Any]:
    if len(token) > LONGEST_TOKEN or not _TOKEN.match(token):
        raise InvalidCredential("token_format")
    segments = token.split(".")
    if any(_encode(_decode(segment)) != segment for segment in segments):
        raise InvalidCredential("token_encoding")  # the same bytes in another spelling
    header = json.loads(_decode(segments[0]), object_pairs_hook=_without_duplicates)
    if set(header) != {"alg", "typ", "kid"} or (header["alg"], header["typ"]) != (ALGORITHM, TYPE):
        raise InvalidCredential("token_header")
    if not isinstance(header["kid"], str) or not _KEY_ID.match(header["kid"]):
        raise InvalidCredential("token_header")
    if (key := _keys().get(header["kid"])) is None:
        raise InvalidCredential("token_key")
    json.loads(_decode(segments[1]), object_pairs_hook=_without_duplicates)
    options = {**{f"require_{name}": True for name in _REQUIRED}, "leeway": LEEWAY_SECONDS}
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[ALGORITHM],
        audience=SLUG,
        issuer=ServiceSettings.current().public_base_url,
        options=options,
    )
    return claims


def _claims(claims: dict[str, Any]) -> Claims:
    if any(type(claims[name]) is not int for name in _NUMBERS) or claims["aud"] != SLUG:
        raise InvalidCredential("token_claims")
    now = time.time()
    issued, expires = claims["iat"], claims["exp"]
    too_long = expires - issued > LONGEST_LIFE_SECONDS
    if expires <= now - LEEWAY_SECONDS or max(issued, claims["nbf"]) > now + LEEWAY_SECONDS or too_long:
        raise InvalidCredential("token_time")
    if any(str(UUID(claims[name])) != claims[name] for name in _IDS) or claims["client_id"] != CLIENT_ID:
        raise InvalidCredential("token_claims")
    roles, scope = claims["roles"], claims["scope"]
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles) or not isinstance(scope, str):
        raise InvalidCredential("token_claims")
    return Claims(
        account=UUID(claims["sub"]),
        session=UUID(claims["sid"]),
        version=claims["ver"],
        roles=frozenset(roles),
        scopes=frozenset(scope.split()),
        narrowed=claims.get("narrowed") is True,
        authenticated_at=claims["auth_time"],
        expires_at=expires,
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidCredential("token_duplicate_names")
    return found


def _decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
