"""Roles of people: a flat set. `admin` is the administrator by name; a new person gets the first of the others.

Roles in a token never exceed those in the database, so removing one holds at once (ASVS 5.0 V8.2.1, V8.3.2).
"""

from enum import StrEnum
from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.security.access import accounts
from app.security.access.credentials import Principal
from app.security.access.identity import Authenticate, forbidden
from app.security.access.policy import Policy

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
    return Depends(RequireRole(*roles))
