"""The app: your routers and layers, and around them what protects it."""

from fastapi import FastAPI

from app.api import notes
from app.security.compose import fastapi_options, secure


def create_app() -> FastAPI:
    app = FastAPI(title="{{= project_name }}", **fastapi_options())
    app.include_router(notes.router)
    # Your routers and layers go here; secure(app) stays last.
    secure(app)
    return app


app = create_app()
