"""Roles of people: `dependencies=[require_role(Role.ADMIN)]`."""

from app.security.access.roles import ADMIN as ADMIN
from app.security.access.roles import Role as Role
from app.security.access.roles import require_role as require_role
