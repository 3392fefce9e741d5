"""Administration of people: one's own account, the administrator's routes, `manage users`, invitations and pruning."""

from fastapi import FastAPI

from app.security.administration import pruning, self_service


def install(app: FastAPI) -> None:
    app.routes.extend(self_service.router.routes)
    app.state.hooks.background.append(pruning.prune_daily)
