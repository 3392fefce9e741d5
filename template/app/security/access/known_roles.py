"""Which roles of the database are believed: those of this project. `roles.py` adds them; without it there are none.

A role that the answers do not have any more, or that somebody typed, grants nothing and is shown nowhere. It is said
once in each process, and so many at most; whoever may write rows fills no log with them.
"""

import logging
from collections.abc import Iterable

from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.policy import Policies, hooks_of
from app.security.core.tables import AccountRole

MOST_SAID = 20
ROLES: set[str] = set()
_said: set[str] = set()
log = logging.getLogger(__name__)


def believed(stored: Iterable[str | None]) -> frozenset[str]:
    """Those of an account's roles that this project has; None is no role."""
    found = frozenset(role for role in stored if role is not None)
    for role in found - ROLES:
        _say(role)
    return found & ROLES


def _say(role: str) -> None:
    if role not in _said and len(_said) < MOST_SAID:
        _said.add(role)
        log.warning("The role %r in the database is none of this project's: it grants nothing.", role)


async def _leftovers(db: AsyncSession, policies: Policies) -> list[str]:
    """For `manage doctor`: a role of before would grant again what it did if the answers had it again."""
    having = select(AccountRole.role, func.count()).where(AccountRole.role.not_in(sorted(ROLES)))
    found = await db.execute(having.group_by(AccountRole.role).order_by(AccountRole.role).limit(MOST_SAID))
    why = "is none of this project's: it grants nothing until it is"
    return [f"the role {role!r} in the database (accounts: {number}) {why}" for role, number in found]


def install(app: FastAPI) -> None:
    hooks_of(app).hints.append(_leftovers)
