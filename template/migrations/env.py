"""Your migrations. A table that stands outside `app/api` is imported here too, so that Alembic sees it."""

import app.api  # noqa: F401  registers your tables
from app.database import Base
from app.security import tables  # noqa: F401  registers ours, so that you can reference them
from app.security.migrations import run_your_chain

run_your_chain(Base.metadata)
