"""What a log-in, a refresh and a change of password answer: an access token of a session (RFC 6749 section 5.1)."""

from typing import Literal

from fastapi import Request
from pydantic import BaseModel

from app.security.access.context import context_of
from app.security.authentication import sessions, tokens
from app.security.authentication.oauth_forms import OAuthError
from app.security.core.tables import Session


class AccessTokenOut(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    scope: str


class TokenOut(AccessTokenOut):
    """RFC 6749 section 5.1."""

    refresh_token: str


def known_scopes(request: Request) -> frozenset[str]:
    """Every scope that a route of this app asks for."""
    return frozenset(context_of(request).policies.scopes())


def access_token_for(
    session: Session,
    version: int,
    roles: frozenset[str],
    known: frozenset[str],
    asked: frozenset[str] | None = None,
) -> AccessTokenOut:
    """An access token of a session, for all (known) scopes that its log-in was granted, or for what is asked now."""
    granted = sessions.scopes_of(session)
    scopes = known if granted is None else granted
    if asked is not None:
        if not asked <= scopes:
            raise OAuthError("invalid_scope", "The log-in was not granted such a scope.")
        scopes = asked
    token = tokens.issue(
        account=session.account_id,
        session=session.id,
        version=version,
        roles=roles,
        scopes=scopes,
        narrowed=granted is not None or asked is not None,
        authenticated_at=session.created_at,
    )
    return AccessTokenOut(access_token=token, expires_in=tokens.lifetime_seconds(), scope=" ".join(sorted(scopes)))
