"""Roles of people: a flat set. `admin` is the administrator by name; a new person gets the first of the others.

Roles in a token never exceed those in the database, so removing one holds at once (ASVS 5.0 V8.2.1, V8.3.2).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app.security.access import accounts
from app.security.access.credentials import Principal
from app.security.access.identity import Authenticate, declared, forbidden
from app.security.access.policy import Policy
from app.security.core.events import Event, record_change
from app.security.core.tables import UNUSABLE_PASSWORD, Account, AccountRole, OneTimeToken

Role = StrEnum(
    "Role",
    {
        # {% for role in role_names %}
        "{{= role | upper }}": "{{= role }}",
        # {% endfor %}
    },
)
ADMIN = Role(accounts.ADMINISTRATOR)
accounts.ROLES.update(role.value for role in Role)


def first_role() -> frozenset[str]:
    """The roles of a new person by default."""
    others = [role for role in Role if role is not ADMIN]
    return frozenset(others[:1])


class RequireRole(Authenticate):
    """The dependency behind `require_role`: the caller must have one of these roles."""

    def __init__(self, *roles: Role) -> None:
        self.roles = frozenset(map(Role, roles))  # a plain name of one, too

    def declare(self, policy: Policy) -> None:
        super().declare(policy)
        policy.roles.add(frozenset(role.value for role in self.roles))

    async def check(self, connection: HTTPConnection) -> Principal:
        principal = await super().check(connection)
        if principal.roles.isdisjoint(self.roles):
            raise forbidden(connection, "insufficient_role")
        return principal


def require_role(*roles: Role) -> Any:
    """This route is for people with one of these roles. It stands in `dependencies=[…]`."""
    return declared(RequireRole(*roles))


async def set_roles(db: AsyncSession, account: UUID, roles: Iterable[str], *, actor: UUID | None = None) -> str:
    """Replace the roles of an account. Returns the change, as `before->after`.

    It withdraws the invitations that this person issued, and those for a person who has a password: the issuer could
    now lack the power, or the person have more of it.
    """
    removed = delete(AccountRole).where(AccountRole.account_id == account).returning(AccountRole.role)
    wanted, before = sorted(set(roles)), sorted(await db.scalars(removed))
    db.add_all([AccountRole(account_id=account, role=role) for role in wanted])
    activated = select(Account.id).where(Account.id == account, Account.password_hash != UNUSABLE_PASSWORD)
    concerned = or_(OneTimeToken.issuer_id == account, OneTimeToken.account_id.in_(activated))
    await db.execute(delete(OneTimeToken).where(concerned))
    accounts.forget(db, account)
    change = f"{','.join(before)}->{','.join(wanted)}"
    record_change(db, Event.AUTHZ_CHANGE, actor=actor, subject=account, reason=change)
    return change
