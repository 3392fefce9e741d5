"""People log in: the OAuth2 password grant, the access tokens that it gives, and what people do with their account."""

import logging

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.security.access import accounts, credentials
from app.security.access.policy import Policies, hooks_of
from app.security.administration import pruning
from app.security.administration import self_service as users
from app.security.authentication import passwords
from app.security.authentication import routes as auth_routes
from app.security.authentication.bearer import BearerToken
from app.security.core.settings import in_production

log = logging.getLogger(__name__)


async def _first_line(app: FastAPI) -> None:
    """What a developer is told when a fresh project starts."""
    if in_production():
        return
    database: Database = app.state.database
    try:
        async with database.begin() as db:
            someone = await accounts.any_person(db)
    except SQLAlchemyError:
        return  # the line about migrations says what to do
    if not someone:
        policies: Policies = app.state.policies
        administrated = any("admin" in group for policy in policies.all for group in policy.roles)
        who, role = ("administrator", " --role admin") if administrated else ("first person", "")
        log.info("Nobody can log in yet. Create the %s: uv run manage users create you@example.com%s", who, role)


def install(app: FastAPI) -> None:
    credentials.add_kind(app, BearerToken())
    passwords.install(app)
    users.install(app)
    auth_routes.install(app)
    pruning.install(app)
    hooks_of(app).at_start.append(_first_line)
