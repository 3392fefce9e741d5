"""The HTTP side of logging in: the token endpoint, revocation, log-out, and the list of one's sessions."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response as PlainResponse

from app.database import Database, DbSession
from app.security.access.credentials import credentials_of, forget_on_commit
from app.security.access.identity import Caller, public
from app.security.authentication import sessions
from app.security.authentication import throttle as login_throttle
from app.security.authentication.login import LoginFailed, PasswordLogin
from app.security.authentication.oauth_forms import Form, OAuthError, documented, form_body, required
from app.security.authentication.sessions import Client, Grant
from app.security.authentication.throttle import Purpose, Throttled
from app.security.authentication.token_answers import TokenOut, access_token_for, known_scopes
from app.security.core.problems import Problem
from app.security.http import errors
from app.security.http.client_address import client_ip

router = APIRouter(prefix="/auth", tags=["auth"])


class SessionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip_prefix: str
    user_agent: str
    current: bool


def client_of(request: Request) -> Client:
    context = request.state.context
    return Client(address=client_ip(request.scope), user_agent=context.user_agent)


ClientPlace = Annotated[Client, Depends(client_of)]


async def count_source(request: Request, purpose: Purpose) -> None:
    """Count this request against its source; committed at once, so that a refusal later does not undo it."""
    await login_throttle.count_source(request.state.database, client_ip(request.scope), purpose)


@router.post(
    "/token",
    dependencies=[public, form_body],
    openapi_extra=documented("grant_type", "username", "password", "refresh_token", "scope"),
)
async def token(request: Request, form: Form, client: ClientPlace) -> TokenOut:
    """Log in (`grant_type=password`) or carry a session on (`grant_type=refresh_token`)."""
    grant_type = required(form, "grant_type")
    if grant_type == "password":
        return await _log_in(request, form, client)
    if grant_type == "refresh_token":
        return await _refresh(request, form, client)
    raise OAuthError("unsupported_grant_type", "Use password or refresh_token.")


async def _log_in(request: Request, form: dict[str, str], client: Client) -> TokenOut:
    name, password = required(form, "username"), required(form, "password")
    asked = _asked_scopes(form)
    if asked is not None and not asked <= known_scopes(request):
        raise OAuthError("invalid_scope", "No route asks for such a scope.")
    login: PasswordLogin = request.state.password_login
    try:
        grant = await login.log_in(name, password, client, asked)
    except LoginFailed:
        raise OAuthError("invalid_grant", "The name or the password is wrong.") from None
    credentials_of(request).cache.forget(grant.account.id)  # its oldest session may have ended to make room
    return _answer(request, grant)


async def _refresh(request: Request, form: dict[str, str], client: Client) -> TokenOut:
    presented, asked = required(form, "refresh_token"), _asked_scopes(form)
    await count_source(request, "refresh")
    database: Database = request.state.database
    async with database.begin() as db:
        outcome = await sessions.refresh(db, presented, client)
        if isinstance(outcome, Grant):
            return _answer(request, outcome, asked)  # asking for too much rolls back: the token stays unused
        if outcome.ended is not None:
            forget_on_commit(request, db, outcome.ended)
    request.state.context.reason = outcome.reason
    raise OAuthError("invalid_grant", "The refresh token does not hold.")


def _asked_scopes(form: dict[str, str]) -> frozenset[str] | None:
    """None where a log-in or refresh asks for all that it may have."""
    return frozenset(form.get("scope", "").split()) or None


def _answer(request: Request, grant: Grant, asked: frozenset[str] | None = None) -> TokenOut:
    out = access_token_for(grant.session, grant.account.token_version, grant.roles, known_scopes(request), asked)
    return TokenOut(**out.model_dump(), refresh_token=grant.refresh_token)


@router.post(
    "/revoke",
    dependencies=[public, form_body],
    openapi_extra=documented("token", "token_type_hint"),
    response_class=Response,  # its answer is empty, also in the document
)
async def revoke(request: Request, form: Form) -> Response:
    """RFC 7009: end the session of a refresh token; the answer is the same for a token that is none."""
    presented = required(form, "token")
    await count_source(request, "refresh")
    database: Database = request.state.database
    async with database.begin() as db:
        session = await sessions.by_refresh_token(db, presented)
        if session is not None:
            await sessions.end(db, session.account_id, session.id)
            forget_on_commit(request, db, session.account_id)
    return Response()


@router.post("/logout", status_code=204)
async def logout(request: Request, caller: Caller, db: DbSession) -> None:
    """End the session of this token."""
    await sessions.end(db, caller.id, caller.credential.id)
    forget_on_commit(request, db, caller.id)


@router.get("/sessions")
async def list_sessions(caller: Caller, db: DbSession) -> list[SessionOut]:
    found = await sessions.live_sessions(db, caller.id)
    shown = ("id", "created_at", "last_used_at", "expires_at", "ip_prefix", "user_agent")
    return [
        SessionOut(**{name: getattr(session, name) for name in shown}, current=session.id == caller.credential.id)
        for session in found
    ]


@router.delete("/sessions", status_code=204)
async def end_sessions(request: Request, caller: Caller, db: DbSession) -> None:
    """End every session of the caller, this one included."""
    for session in await sessions.live_sessions(db, caller.id):
        await sessions.end(db, caller.id, session.id)
    forget_on_commit(request, db, caller.id)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(request: Request, session_id: UUID, caller: Caller, db: DbSession) -> None:
    if not await sessions.end(db, caller.id, session_id):
        raise Problem(404)
    forget_on_commit(request, db, caller.id)


async def _on_throttled(request: Request, error: Exception) -> PlainResponse:
    seconds = error.retry_after if isinstance(error, Throttled) else 1
    problem = Problem(429, detail="Too many attempts.", headers={"Retry-After": str(seconds)})
    return errors.respond(problem, request.state.context.request_id)


def install(app: FastAPI) -> None:
    app.state.password_login = PasswordLogin(app.state.database, app.state.passwords)
    app.add_exception_handler(Throttled, _on_throttled)
    app.routes.extend(router.routes)
