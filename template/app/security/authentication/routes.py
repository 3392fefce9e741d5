"""The HTTP side of logging in: token endpoint, revocation, logout, and the caller's sessions.

The token endpoint follows OAuth 2.0: a form body (RFC 6749 section 3.2), its answers (5.1) and its errors (5.2).
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database, DbSession
from app.security.access import accounts
from app.security.access.credentials import InvalidCredential, context_in
from app.security.access.identity import Caller, public
from app.security.admission.request_guard import accepts
from app.security.authentication import sessions, throttle, tokens
from app.security.authentication.login import PasswordLogin
from app.security.authentication.sessions import Grant
from app.security.authentication.throttle import ClientInfo, client_of
from app.security.core.events import Event, record, record_change
from app.security.core.problems import Problem
from app.security.core.tables import EXTERNAL_LOGIN, UNUSABLE_PASSWORD, Account

FORM = "application/x-www-form-urlencoded"
MAXIMUM_FIELDS = 20
MAXIMUM_BYTES = 64 * 1024

DOCUMENTED: dict[str, dict[str, Any]] = {
    "grant_type": {"enum": ["password", "refresh_token"]},
    "username": {"description": "with `grant_type=password`", "examples": ["you@example.com"]},
    "password": {"description": "with `grant_type=password`", "format": "password", "writeOnly": True},
    "refresh_token": {"description": "with `grant_type=refresh_token`", "format": "password", "writeOnly": True},
    "token": {"format": "password", "writeOnly": True},
    "scope": {"description": "empty: everything that you may do"},
}

router = APIRouter(prefix="/auth", tags=["auth"])
form_body = accepts(FORM, max_bytes=MAXIMUM_BYTES)


class TokenOut(BaseModel):
    """RFC 6749 section 5.1."""

    access_token: str = Field(examples=["eyJ…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(examples=[600])
    scope: str = Field(examples=["notes:read notes:write"])
    refresh_token: str = Field(examples=["rt_…"])


class SessionOut(BaseModel, from_attributes=True):
    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip_prefix: str = Field(examples=["203.0.113.7/32"])
    user_agent: str = Field(examples=["Mozilla/5.0"])
    current: bool = False


class OAuthError(Problem):
    """An error of the token endpoint: `error` and `error_description`, beside the members of every problem."""

    media_type = "application/json"

    def __init__(self, error: str, description: str) -> None:
        super().__init__(400, detail=description, error=error, error_description=description)


async def _form(request: Request) -> dict[str, str]:
    """The parameters. An empty one counts as left out, a repeated one is refused (RFC 6749 section 3.2)."""
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, max_num_fields=MAXIMUM_FIELDS, errors="strict", keep_blank_values=True)
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise OAuthError("invalid_request", "A parameter is repeated.")
    return {name: value for name, value in pairs if value}


Form = Annotated[dict[str, str], Depends(_form)]


def _required(form: dict[str, str], name: str) -> str:
    if name not in form:
        raise OAuthError("invalid_request", f"The parameter {name} is missing.")
    return form[name]


def _documented(required: str, *others: str) -> dict[str, Any]:
    """The form body in the OpenAPI document, as `openapi_extra`."""
    text = {"type": "string", "maxLength": MAXIMUM_BYTES}
    properties = {name: text | DOCUMENTED.get(name, {}) for name in (required, *others)}
    schema = {"type": "object", "required": [required], "properties": properties}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


def known_scopes(request: Request) -> frozenset[str]:
    """Every scope that a route of this app requires."""
    return frozenset(context_in(request.scope).policies.scopes())


def token_response(grant: Grant, known: frozenset[str], requested: frozenset[str] | None = None) -> TokenOut:
    """The tokens of a session, for the scopes that its login was granted (None: all known ones), or fewer."""
    session = grant.session
    granted = None if session.scopes is None else frozenset(session.scopes.split())
    scopes = known if granted is None else granted
    if requested is not None and not requested <= scopes:
        raise OAuthError("invalid_scope", "The login was not granted this scope.")
    scopes = scopes if requested is None else requested
    narrowed = granted is not None or requested is not None
    claimed = scopes if narrowed else frozenset()  # all scopes of a large service would not fit into a header
    access_token = tokens.issue(session, grant.account.token_version, grant.roles, claimed, narrowed=narrowed)
    lifetime, scope = 60 * tokens.TokenSettings.current().access_token_minutes, " ".join(sorted(scopes))
    return TokenOut(access_token=access_token, expires_in=lifetime, scope=scope, refresh_token=grant.refresh_token)


@router.post(
    "/token",
    dependencies=[public, form_body],
    openapi_extra=_documented("grant_type", "username", "password", "refresh_token", "scope"),
)
async def token(request: Request, form: Form, client: ClientInfo) -> TokenOut:
    """Log in (`grant_type=password`) or continue a session (`grant_type=refresh_token`)."""
    requested = frozenset(form.get("scope", "").split()) or None
    grant_type = _required(form, "grant_type")
    if grant_type == "password":
        username, password = _required(form, "username"), _required(form, "password")
        if requested is not None and not requested <= known_scopes(request):
            raise OAuthError("invalid_scope", "No route requires this scope.")
        login: PasswordLogin = request.state.password_login
        grant = await login.log_in(username, password, client, requested)
        if grant is None:
            raise OAuthError("invalid_grant", "The name or the password is wrong.")
        return token_response(grant, known_scopes(request))
    if grant_type == "refresh_token":
        presented = _required(form, "refresh_token")
        await throttle.count_source(request.state.database, client, "refresh")
        database: Database = request.state.database
        async with database.begin() as db:
            outcome = await sessions.refresh(db, presented, client)
            if isinstance(outcome, Grant):  # a scope too many rolls back: the refresh token stays unused
                return token_response(outcome, known_scopes(request), requested)
        context_in(request.scope).reason = outcome
        raise OAuthError("invalid_grant", "The refresh token is invalid or has expired.")
    raise OAuthError("unsupported_grant_type", "Use password or refresh_token.")


async def issue_tokens(request: Request, db: AsyncSession, account: UUID) -> TokenOut:
    """Log in a person whose identity your route has verified elsewhere, such as at an OpenID provider.

    Nothing about that identity is checked here. Find the account by the provider's issuer and subject, in a table of
    yours: a name or an e-mail address may belong to somebody else there. It counts as a login of now for
    `recent_login`, so have the provider ask again (`max_age`). A person without a password gets none by
    `request_password_reset` from then on. Raises: Problem 403 for a disabled or unknown account, or a service.
    """
    allowed = select(Account).where(Account.id == account, Account.is_active, Account.kind == "person")
    person = await db.scalar(allowed.with_for_update().execution_options(populate_existing=True))
    if person is None:
        record(Event.LOGIN_FAIL, outcome="failure", subject=account, reason="external")
        raise Problem(403, detail="This account cannot log in.")
    if person.password_hash == UNUSABLE_PASSWORD:
        person.password_hash = EXTERNAL_LOGIN
        await accounts.withdraw_invitations(db, person.id)  # a token would set a password
    record_change(db, Event.LOGIN_SUCCESS, actor=person.id, reason="external")
    grant = await sessions.start(db, person, await client_of(request), None)
    return token_response(grant, known_scopes(request))


@router.post(
    "/revoke",
    dependencies=[public, form_body],
    openapi_extra=_documented("token", "token_type_hint"),
    response_class=Response,  # an empty body, in the OpenAPI document too
)
async def revoke(request: Request, form: Form, client: ClientInfo) -> Response:
    """End the session of a refresh token or an access token (RFC 7009); an unknown token gets the same response."""
    presented = _required(form, "token")
    await throttle.count_source(request.state.database, client, "refresh")
    database: Database = request.state.database
    async with database.begin() as db:
        try:
            claims = tokens.verify(presented)
        except InvalidCredential:
            await sessions.revoke(db, presented, client)
        else:
            await sessions.end(db, claims.sub, claims.sid)
    return Response()


@router.post("/logout", status_code=204)
async def logout(caller: Caller, db: DbSession) -> None:
    """End the session of this token."""
    await sessions.end(db, caller.id, caller.credential.id)


@router.get("/sessions")
async def list_sessions(caller: Caller, db: DbSession) -> list[SessionOut]:
    """The caller's live sessions, newest first."""
    found = [SessionOut.model_validate(session) for session in await sessions.live_sessions(db, caller.id)]
    return [session.model_copy(update={"current": session.id == caller.credential.id}) for session in found]


@router.delete("/sessions", status_code=204)
async def end_sessions(caller: Caller, db: DbSession) -> None:
    """End every session of the caller, this one included."""
    for session in await sessions.live_sessions(db, caller.id):
        await sessions.end(db, caller.id, session.id)
    await accounts.withdraw_invitations(db, caller.id)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, caller: Caller, db: DbSession) -> None:
    """End one of the caller's sessions, and the caller's invitations: a thief may have issued them."""
    if not await sessions.end(db, caller.id, session_id):
        raise Problem(404)
    await accounts.withdraw_invitations(db, caller.id)
