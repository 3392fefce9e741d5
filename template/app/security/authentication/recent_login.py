"""What only a recent login may do, such as granting power; refreshing does not renew it (RFC 9470, ASVS 5.0 V7.5.1)."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app import database
from app.database import DbSession
from app.security.access.accounts import roles_of
from app.security.access.credentials import Principal
from app.security.access.identity import Authenticate, forbidden, invalid, refuse
from app.security.access.policy import Policies, Policy
from app.security.core.tables import Account, AccountRole, Session

RECENT = timedelta(minutes=15)


class RequireRecentLogin(Authenticate):
    """The login must be at most 15 minutes old."""

    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.recent_login = True

    async def check(self, connection: HTTPConnection) -> Principal:
        caller = await super().check(connection)
        authenticated_at = caller.credential.authenticated_at
        if authenticated_at is not None and datetime.now(UTC) - authenticated_at <= RECENT:
            return caller
        error, seconds = "insufficient_user_authentication", str(int(RECENT.total_seconds()))
        raise refuse(connection, 401, error, "Log in again first.", error, max_age=seconds)


recent_login = Depends(RequireRecentLogin())
"""The caller of this route logged in at most 15 minutes ago."""


class ConfirmCaller:
    """The dependency behind `GrantingSession`; a role is one that the caller must still have."""

    def __init__(self, role: str | None = None) -> None:
        self.role = role

    async def __call__(
        self, connection: HTTPConnection, db: DbSession, caller: Annotated[Principal, recent_login]
    ) -> AsyncSession:
        """Check the caller again in the transaction that grants power: account, token version, session and role.

        Nothing cached is used. The caller's account, and with a role the account of everyone who has it, are locked in
        one order until the transaction ends: a revocation has either committed before, and is seen here, or waits.
        Raises: Problem 401, or 403 when the role is gone.
        """
        peers = select(AccountRole.account_id).where(AccountRole.role == self.role)
        locked = select(Account).where((Account.id == caller.id) | Account.id.in_(peers)).order_by(Account.id)
        fresh = locked.with_for_update().execution_options(populate_existing=True)
        found = {account.id: account for account in await db.scalars(fresh)}
        account, session = found.get(caller.id), await db.get(Session, caller.credential.id, with_for_update=True)
        active = account is not None and account.is_active and account.token_version == caller.credential.version
        if not active or session is None or session.ended_at is not None or session.expires_at <= datetime.now(UTC):
            raise invalid(connection, "session_ended")
        if self.role is not None and self.role not in await roles_of(db, caller.id):
            raise forbidden(connection, "insufficient_role")
        return db


GrantingSession = Annotated[AsyncSession, Depends(ConfirmCaller())]
"""`DbSession` for a route that grants power, such as a key: the caller logged in recently, and is confirmed in it."""


def unconfirmed(app: FastAPI, policies: Policies) -> list[str]:
    """Routes that require a recent login and change the database without confirming their caller."""
    return [
        f"{policy.name} requires a recent login and uses DbSession: use GrantingSession, which confirms the caller"
        for policy in policies.all
        if policy.recent_login and not policy.methods <= {"GET", "HEAD"} and database.session in policy.calls
        if not any(isinstance(call, ConfirmCaller) for call in policy.calls)
    ]
