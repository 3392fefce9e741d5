"""Invitations: one-time tokens that set a password, the first one or a forgotten one.

An invitation is as powerful as a password. So it stores its issuer, and ends with the issuer's power: when they are
disabled or get another password (ASVS 5.0 V6.4.1, V7.4.3).
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.security.access.accounts import NotAPerson, random_token, token_hash, withdraw_invitations
from app.security.core import events
from app.security.core.events import Event
from app.security.core.tables import Account, OneTimeToken, utc_now

LIFE = timedelta(hours=24)


async def invite(db: AsyncSession, account: Account, issuer: UUID | None = None) -> str:
    """A token for 24 hours; earlier invitations are withdrawn. Raises: NotAPerson."""
    if account.kind != "person":
        raise NotAPerson("This is a service account: it has keys, but no password.")
    await withdraw_invitations(db, account.id)
    issued = None if issuer is None else await db.get_one(Account, issuer)
    token = random_token("ot")
    db.add(
        OneTimeToken(
            account_id=account.id,
            token_hash=token_hash(token),
            expires_at=utc_now() + LIFE,
            issuer_id=issuer,
            issuer_version=None if issued is None else issued.token_version,
        )
    )
    events.record_change(db, Event.INVITATION_CREATED, subject=account.id)
    return token


async def invited(db: AsyncSession, token: str) -> Account | None:
    """The account of a valid invitation."""
    return await db.scalar(_valid(token))


async def use(db: AsyncSession, token: str) -> Account | None:
    """Use up an invitation; of two requests at once, one gets the account."""
    row = await db.scalar(select(OneTimeToken).where(OneTimeToken.token_hash == token_hash(token)))
    if row is None:
        return None
    # Both accounts in one order, so that revoking the issuer's power commits before, and is seen, or waits.
    concerned = select(Account.id).where(Account.id.in_([row.account_id, row.issuer_id])).order_by(Account.id)
    await db.execute(concerned.with_for_update())
    account = await db.scalar(_valid(token).execution_options(populate_existing=True))
    if account is not None:
        await withdraw_invitations(db, account.id)
    return account


def _valid(token: str) -> Select[Account]:
    issuer = aliased(Account)
    joined = select(Account).join(OneTimeToken, OneTimeToken.account_id == Account.id)
    joined = joined.outerjoin(issuer, OneTimeToken.issuer_id == issuer.id)
    return joined.where(
        OneTimeToken.token_hash == token_hash(token),
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > utc_now(),
        Account.is_active,
        Account.kind == "person",
        or_(
            OneTimeToken.issuer_id.is_(None),
            issuer.is_active & (issuer.token_version == OneTimeToken.issuer_version),
        ),
    )
