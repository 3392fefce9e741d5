"""What a developer is told at every start."""

import logging

from fastapi import FastAPI

from app.security.core.hooks import hooks_of
from app.security.core.settings import in_production

log = logging.getLogger(__name__)


async def _where_the_docs_are(app: FastAPI) -> None:
    if not in_production():
        log.info("Docs, to be tried with a credential behind Authorize: /docs")


def install(app: FastAPI) -> None:
    hooks_of(app).at_start.append(_where_the_docs_are)
