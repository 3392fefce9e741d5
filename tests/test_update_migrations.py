"""Features come and go without touching a table; a revision that an update brings is applied beside its owners' own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lived_in import live_in
from tests.nightly import rows
from tests.rendering import Project, Template
from tests.test_postgres import database, server

__all__ = ["database", "server"]  # fixtures
pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.rotating(5)]

DUMP = """
import asyncio
from sqlalchemy import inspect, text
from app.database import Database
def look(connection):
    for table in sorted(inspect(connection).get_table_names()):
        columns = sorted((column["name"], str(column["type"])) for column in inspect(connection).get_columns(table))
        rows = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()
        print(table, rows if table in ("accounts", "api_keys", "orders", "account_roles") else "", columns)
async def dump():
    async with Database().engine.connect() as connection:
        await connection.run_sync(look)
asyncio.run(dump())
"""
BROUGHT = '''"""Brought by an update."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("brought", sa.Column("id", sa.Uuid(), nullable=False), sa.PrimaryKeyConstraint("id"))
'''
MODEL = """class Brought(Base):
    __tablename__ = "brought"

    id: Mapped[UUID] = mapped_column(primary_key=True)


_OURS = ("""
OWN_REVISION = '''"""paid"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("paid", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "paid")
'''
Manage = Callable[..., str]


@pytest.fixture
def fork(runnable: Template, tmp_path: Path) -> Template:
    return runnable.fork(tmp_path / "template")


@pytest.fixture
def lived_in(fork: Template, tmp_path: Path) -> Project:
    project = fork.copy(tmp_path / "project")
    live_in(project, ["rate_limits"])
    project.commit()
    return project


@pytest.fixture(params=rows(["SQLite", "PostgreSQL"], now=["PostgreSQL"]))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "PostgreSQL":
        found: str = request.getfixturevalue("database")
        return found
    return f"sqlite:///{tmp_path / 'service.sqlite3'}"


@pytest.fixture
def manage(lived_in: Project, address: str) -> Manage:
    def run(*command: str) -> str:
        return lived_in.must(*command, DATABASE_URL=address, FASTAPI_ENV="development")

    return run


def update(fork: Template, project: Project, **answers: object) -> None:
    fork.update(project, **answers)
    assert project.must("git", "diff", "--name-only", "--diff-filter=U") == ""
    project.commit("Update")


OFF_AND_ON: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "api_keys": ({"api_keys": False}, {"api_keys": True}),
    "audit_log": ({"audit_log": False}, {"audit_log": True}),
    "jwt": ({"jwt": False, "roles": ""}, {"jwt": True, "roles": "user, admin"}),
}


@pytest.mark.parametrize("feature", rows(OFF_AND_ON, now=["jwt"]))
def test_a_feature_that_comes_or_goes_touches_no_table(
    fork: Template, lived_in: Project, manage: Manage, feature: str
) -> None:
    manage("python", "-m", "app.manage", "migrate")
    manage("python", "-m", "app.manage", "keys", "issue", "--account", "billing", "--scope", "orders:read")
    manage("python", "-m", "app.manage", "users", "invite", "boss", "--role", "admin")
    before = manage("python", "-c", DUMP)

    for answers in OFF_AND_ON[feature]:
        update(fork, lived_in, **answers)
        manage("python", "-m", "app.manage", "migrate")
        manage("alembic", "check")
        assert manage("python", "-c", DUMP) == before, answers


def test_a_revision_that_an_update_brings_is_applied_beside_their_own(
    fork: Template, lived_in: Project, manage: Manage
) -> None:
    manage("python", "-m", "app.manage", "migrate")
    template = Project(fork.path)
    template.write("template/migrations/security/versions/9001_brought.py", BROUGHT)
    template.replace("template/app/security/core/tables.py", "_OURS = (", MODEL)
    template.replace("template/app/security/core/tables.py", "_OURS = (", "_OURS = (Brought, ")
    fork.release("v9999.1.0")

    update(fork, lived_in)
    manage("python", "-m", "app.manage", "migrate")
    manage("alembic", "check")
    lived_in.write("migrations/versions/0003_paid.py", OWN_REVISION)
    lived_in.replace("app/api/orders.py", "    owner_id:", "    paid: Mapped[bool | None]\n    owner_id:")
    manage("python", "-m", "app.manage", "migrate")

    tables = manage("python", "-c", DUMP)
    assert "\nbrought " in tables
    assert "('paid'" in tables
    assert manage("alembic", "heads").split() == ["0003", "(head)"]
    manage("alembic", "check")
