"""Sessions: started by a log-in, carried on by single-use refresh tokens, ended by anyone who may.

A used refresh token that comes again ends the whole session, since one of the two who hold it stole it (RFC 9700
section 4.14.2). Only just after its use, and from the same place, it is refused without that: two tabs that refresh at
once are no theft. A session ends after 7 idle days, and after 30 days whatever happens (ASVS 5.0 V7.3.1, V7.3.2).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import Field
from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.access.accounts import random_token, roles_of, token_hash
from app.security.authentication.tokens import CLIENT_ID
from app.security.core import events
from app.security.core.events import Event
from app.security.core.settings import SecuritySettings
from app.security.core.tables import Account, RefreshToken, Session, utc_now
from app.security.http.client_address import client_prefix

REUSES_REFUSED = 3  # at this many refusals within the leeway the session ends


class SessionSettings(SecuritySettings):
    session_idle_days: int = Field(7, ge=1, le=7)
    session_days: int = Field(30, ge=1, le=30)
    sessions_per_account: int = Field(10, ge=1, le=100)
    refresh_reuse_leeway_seconds: int = Field(10, ge=0, le=60)


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    address: str
    user_agent: str

    @property
    def place(self) -> str:
        return f"{client_prefix(self.address)} {self.user_agent}"[:300]


@dataclass(frozen=True, slots=True)
class Grant:
    """A live session and the refresh token that carries it on; the token is known only here."""

    account: Account
    session: Session
    roles: frozenset[str]
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a refresh token gets nothing. `ended` is the account whose session ended by it."""

    reason: str
    ended: UUID | None = None


def scopes_of(session: Session) -> frozenset[str] | None:
    """What the log-in was limited to; None is not limited."""
    return None if session.scopes is None else frozenset(session.scopes.split())


async def start(db: AsyncSession, account: Account, client: Client, scopes: frozenset[str] | None) -> Grant:
    """A new session; the oldest ones end when the account has too many."""
    settings, now = SessionSettings.current(), utc_now()
    await _make_room(db, account.id, settings.sessions_per_account - 1)
    session = Session(
        account_id=account.id,
        client_id=CLIENT_ID,
        scopes=None if scopes is None else " ".join(sorted(scopes)),
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(days=settings.session_days),
        ip_prefix=client_prefix(client.address),
        user_agent=client.user_agent[:200],
    )
    db.add(session)
    await db.flush()
    events.record_change(db, Event.SESSION_CREATED, actor=account.id, subject=session.id)
    return await _grant(db, account, session)


async def refresh(db: AsyncSession, token: str, client: Client) -> Grant | Refused:
    """Exchange a refresh token for a new one. A refusal is returned, so that what it changed is committed."""
    row = (await db.execute(_lookup(token))).one_or_none()
    if row is None:
        return Refused("unknown_token")
    used, session, account = row
    now = utc_now()
    if session.ended_at is not None or not account.is_active:
        return Refused("session_ended")
    if min(session.expires_at, _idle_end(session)) <= now:
        session.ended_at = now
        events.record_change(db, Event.SESSION_EXPIRED, actor=account.id, subject=session.id)
        return Refused("session_expired", ended=account.id)
    consumed = update(RefreshToken).where(RefreshToken.id == used.id, RefreshToken.used_at.is_(None))
    if await changed_rows(db, consumed.values(used_at=now, used_from=client.place)) != 1:
        return _reused(db, used, session, client, now)
    session.last_used_at = now
    return await _grant(db, account, session)


async def by_refresh_token(db: AsyncSession, token: str) -> Session | None:
    """The live session that a refresh token belongs to, used or not."""
    row = (await db.execute(_lookup(token))).one_or_none()
    return row[1] if row is not None and row[1].ended_at is None else None


async def live_sessions(db: AsyncSession, account: UUID) -> list[Session]:
    """Newest first."""
    now = utc_now()
    open_ = (Session.account_id == account, Session.ended_at.is_(None), Session.expires_at > now)
    found = await db.scalars(select(Session).where(*open_).order_by(Session.created_at.desc()))
    return [session for session in found if _idle_end(session) > now]


async def end(db: AsyncSession, account: UUID, session: UUID) -> bool:
    """End one session of an account; False when it has no such live session."""
    mine = (Session.id == session, Session.account_id == account, Session.ended_at.is_(None))
    if await changed_rows(db, update(Session).where(*mine).values(ended_at=utc_now())) != 1:
        return False
    events.record_change(db, Event.SESSION_ENDED, actor=account, subject=session)
    return True


def _lookup(token: str) -> Select[RefreshToken, Session, Account]:
    tables = select(RefreshToken, Session, Account).join(Session, RefreshToken.session_id == Session.id)
    joined = tables.join(Account, Session.account_id == Account.id)
    # Not the account: who disables it, or logs in at the cap, holds it and then waits for its sessions.
    held = joined.with_for_update(of=(RefreshToken, Session))
    return held.where(RefreshToken.token_hash == token_hash(token))


def _idle_end(session: Session) -> datetime:
    return session.last_used_at + timedelta(days=SessionSettings.current().session_idle_days)


def _reused(db: AsyncSession, used: RefreshToken, session: Session, client: Client, now: datetime) -> Refused:
    leeway = timedelta(seconds=SessionSettings.current().refresh_reuse_leeway_seconds)
    session.reuse_refusals += 1
    just_now = used.used_at is not None and now - used.used_at <= leeway and used.used_from == client.place
    if just_now and session.reuse_refusals < REUSES_REFUSED:
        _record_reuse(db, session, "leeway")
        return Refused("token_reuse_within_leeway")
    session.ended_at = now
    _record_reuse(db, session, "session_ended")
    return Refused("token_reuse", ended=session.account_id)


def _record_reuse(db: AsyncSession, session: Session, reason: str) -> None:
    found = {"actor": session.account_id, "subject": session.id}
    events.record_change(db, Event.TOKEN_REUSE, outcome="failure", reason=reason, **found)


async def _grant(db: AsyncSession, account: Account, session: Session) -> Grant:
    token = random_token("rt")
    db.add(RefreshToken(session_id=session.id, token_hash=token_hash(token)))
    await db.flush()
    events.record_change(db, Event.TOKEN_CREATED, actor=account.id, subject=session.id)
    return Grant(account, session, await roles_of(db, account.id), token)


async def _make_room(db: AsyncSession, account: UUID, room: int) -> None:
    # Held until we commit, so that two log-ins at once do not both see room.
    await db.execute(select(Account.id).where(Account.id == account).with_for_update())
    for surplus in (await live_sessions(db, account))[room:]:
        surplus.ended_at = utc_now()
        events.record_change(db, Event.SESSION_ENDED, actor=account, subject=surplus.id, reason="too_many")
