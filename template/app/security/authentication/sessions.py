"""Sessions: started by a login, continued by single-use refresh tokens, ended by logout, revocation or expiry.

Reuse of a refresh token ends the session, since one of the two who hold it stole it (RFC 9700 section 4.14.2). Within
a short leeway, from the same place, it is only refused: two tabs that refresh at once are no theft. A session expires
after 7 idle days, and after 30 days in any case (ASVS 5.0 V7.3.1, V7.3.2).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import changed_rows
from app.security.access.accounts import base62, forget, lock, revoke_keys, roles_of, token_hash, withdraw_invitations
from app.security.authentication.throttle import Client
from app.security.authentication.tokens import CLIENT_ID
from app.security.core.events import Event, record_change
from app.security.core.settings import SecuritySettings
from app.security.core.tables import Account, ApiKey, RefreshToken, Session, utc_now

REUSES_REFUSED = 3  # the session ends at this many refusals without a refresh outside the leeway between them


class SessionSettings(SecuritySettings):
    session_idle_days: int = Field(7, ge=1, le=7)
    session_days: int = Field(30, ge=1, le=30)
    sessions_per_account: int = Field(10, ge=1, le=100)
    refresh_reuse_leeway_seconds: int = Field(10, ge=0, le=60)


@dataclass(frozen=True, slots=True)
class Grant:
    """A live session and its new refresh token, which is stored nowhere in the clear."""

    account: Account
    session: Session
    roles: frozenset[str]
    refresh_token: str


async def start(db: AsyncSession, account: Account, client: Client, scopes: frozenset[str] | None) -> Grant:
    """A new session. The oldest ones end when the account has too many."""
    settings, now = SessionSettings.current(), utc_now()
    await lock(db, account.id)  # so that two logins at once count each other's session
    for surplus in (await live_sessions(db, account.id))[settings.sessions_per_account - 1 :]:
        surplus.ended_at = now
        record_change(db, Event.SESSION_ENDED, actor=account.id, subject=surplus.id, reason="too_many")
        forget(db, account.id)
    session = Session(
        account_id=account.id,
        client_id=CLIENT_ID,
        scopes=None if scopes is None else " ".join(sorted(scopes)),
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(days=settings.session_days),
        ip_prefix=client.prefix,
        user_agent=client.user_agent[:200],
    )
    db.add(session)
    await db.flush()
    record_change(db, Event.SESSION_CREATED, actor=account.id, subject=session.id)
    return await _grant(db, account, session)


async def refresh(db: AsyncSession, token: str, client: Client) -> Grant | str:
    """Exchange a refresh token for a new one. A refusal returns its reason, so that what it changed is committed."""
    row = (await db.execute(_lookup(token))).one_or_none()
    if row is None:
        return "unknown_token"
    used, session, account = row
    now = utc_now()
    if used.used_at is not None and not _just_now(used, client, now):  # also where the session has ended or expired
        return await _reused(db, used, session, client, now)
    if session.ended_at is not None or not account.is_active:
        return "session_ended"
    if min(session.expires_at, _idle_end(session)) <= now:
        session.ended_at = now
        record_change(db, Event.SESSION_EXPIRED, actor=account.id, subject=session.id)
        forget(db, account.id)
        return "session_expired"
    if await _consume(db, client, RefreshToken.id == used.id) != 1:
        await db.refresh(used)
        return await _reused(db, used, session, client, now)
    if now - session.last_used_at > _leeway():
        session.reuse_refusals = 0  # earlier collisions are over
    session.last_used_at = now
    return await _grant(db, account, session)


async def renew(db: AsyncSession, account: Account, session: UUID, client: Client) -> Grant:
    """A new refresh token for a session; using an earlier one counts as reuse from now on."""
    found = await db.get_one(Session, session, with_for_update=True)  # a refresh under way commits first
    await _consume(db, client, RefreshToken.session_id == session)
    return await _grant(db, account, found)


async def revoke(db: AsyncSession, token: str, client: Client) -> None:
    """End the session of a refresh token (RFC 7009); for one that was used before, as `refresh` does."""
    row = (await db.execute(_lookup(token))).one_or_none()
    if row is None:
        return
    used, session, account = row
    now = utc_now()
    if used.used_at is not None and not _just_now(used, client, now):
        await _reused(db, used, session, client, now)
    else:
        await end(db, account.id, session.id)


async def live_sessions(db: AsyncSession, account: UUID) -> list[Session]:
    """Newest first."""
    now = utc_now()
    live = (Session.account_id == account, Session.ended_at.is_(None), Session.expires_at > now)
    found = await db.scalars(select(Session).where(*live).order_by(Session.created_at.desc()))
    return [session for session in found if _idle_end(session) > now]


async def end(db: AsyncSession, account: UUID, session: UUID) -> bool:
    """End one session of an account. False if it has no such live session."""
    own = (Session.id == session, Session.account_id == account, Session.ended_at.is_(None))
    if await changed_rows(db, update(Session).where(*own).values(ended_at=utc_now())) != 1:
        return False
    record_change(db, Event.SESSION_ENDED, actor=account, subject=session)
    forget(db, account)
    return True


def random_token(prefix: str) -> str:
    """`prefix_` and 43 base62 characters: 256 random bits."""
    return f"{prefix}_{base62(43)}"


def _lookup(token: str) -> Select[RefreshToken, Session, Account]:
    """A refresh token with its session, which is locked, and its account, which others lock before the session."""
    tables = select(RefreshToken, Session, Account).join(Session, RefreshToken.session_id == Session.id)
    joined = tables.join(Account, Session.account_id == Account.id)
    return joined.with_for_update(of=Session).where(RefreshToken.token_hash == token_hash(token))


async def _consume(db: AsyncSession, client: Client, which: ColumnElement[bool]) -> int:
    """Mark unused refresh tokens as used. How many: of two requests with one token, one gets 1."""
    unused = update(RefreshToken).where(which, RefreshToken.used_at.is_(None))
    return await changed_rows(db, unused.values(used_at=utc_now(), used_from=client.place))


def _idle_end(session: Session) -> datetime:
    return session.last_used_at + timedelta(days=SessionSettings.current().session_idle_days)


def _leeway() -> timedelta:
    return timedelta(seconds=SessionSettings.current().refresh_reuse_leeway_seconds)


def _just_now(used: RefreshToken, client: Client, now: datetime) -> bool:
    return used.used_at is not None and now - used.used_at <= _leeway() and used.used_from == client.place


async def _reused(db: AsyncSession, used: RefreshToken, session: Session, client: Client, now: datetime) -> str:
    session.reuse_refusals += 1
    tolerated = _just_now(used, client, now) and session.reuse_refusals < REUSES_REFUSED
    found = {"actor": session.account_id, "subject": session.id}
    reason = "leeway" if tolerated else "session_ended"
    record_change(db, Event.TOKEN_REUSE, outcome="failure", reason=reason, **found)
    if tolerated:
        return "token_reuse_within_leeway"
    session.ended_at = session.ended_at or now
    await withdraw_invitations(db, session.account_id)
    made = ApiKey.created_at.between(session.created_at, session.ended_at)  # the thief may have issued them
    await revoke_keys(db, session.account_id, made, actor=session.account_id)
    return "token_reuse"


async def _grant(db: AsyncSession, account: Account, session: Session) -> Grant:
    token = random_token("rt")
    db.add(RefreshToken(session_id=session.id, token_hash=token_hash(token)))
    await db.flush()
    record_change(db, Event.TOKEN_CREATED, actor=account.id, subject=session.id)
    return Grant(account, session, await roles_of(db, account.id), token)
