"""Your routes and tables. Import each module with a table here, so that Alembic and the app see it."""

from app.api import notes as notes
