"""What a developer is told when a fresh project starts."""

import logging

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.security import accounts
from app.security.settings import in_production

log = logging.getLogger(__name__)


async def first_lines(app: FastAPI) -> None:
    if in_production():
        return
    database: Database = app.state.database
    try:
        async with database.begin() as db:
            someone = await accounts.any_person(db)
    except SQLAlchemyError:
        return  # the line about migrations says what to do
    if not someone:
        log.info("Nobody can log in yet. Create the first person: uv run manage users create you@example.com")
    log.info("Docs, with a log-in behind Authorize: /docs")
