"""Authentication of people: the OAuth2 password grant, access tokens, sessions, and the login throttle.

Read `login.py` first: it is the order in which a login is checked. `routes.py` is its HTTP side.
"""

import logging

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.security.access import accounts, credentials
from app.security.access.policy import Policies, hooks_of
from app.security.authentication import passwords, routes
from app.security.authentication.tokens import BearerToken
from app.security.core.settings import in_production

log = logging.getLogger(__name__)


async def _suggest_first_person(app: FastAPI) -> None:
    """Log the command that creates the first account of a fresh project."""
    if in_production():
        return
    database: Database = app.state.database
    try:
        async with database.begin() as db:
            someone = await accounts.any_person(db)
    except SQLAlchemyError:
        return  # another log line asks for the migrations
    if not someone:
        policies: Policies = app.state.policies
        has_administrators = any("admin" in group for policy in policies.all for group in policy.roles)
        who, role = ("administrator", " --role admin") if has_administrators else ("first person", "")
        log.info("Nobody can log in yet. Create the %s: uv run manage users create you@example.com%s", who, role)


def install(app: FastAPI) -> None:
    credentials.add_kind(app, BearerToken())
    passwords.install(app)
    routes.install(app)
    hooks_of(app).at_start.append(_suggest_first_person)
