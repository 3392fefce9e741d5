"""Administration of people: one's own account, the administrator's routes, `manage users`, invitations and pruning."""

from fastapi import FastAPI

from app.security.access.policy import hooks_of
from app.security.administration import pruning, self_service


def install(app: FastAPI) -> None:
    app.routes.extend(self_service.router.routes)
    hooks_of(app).background.append(pruning.prune_daily)
