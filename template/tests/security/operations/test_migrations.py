"""Migrations: two chains that never touch each other's tables, also when several processes run them at once."""

import asyncio
import re
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from app.database import Base
from app.security.core import tables
from app.security.core.tables import SECURITY_TABLES, SECURITY_VERSIONS
from app.security.operations.migrations import configs, migrate, new_engine
from tests.security.fixtures import POSTGRES, Database, MakeClient
from tests.security.project_copy import Copy

STARTED = "sqlite:///{}/started.sqlite3"
YOUR_TABLE = """
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base


class Parcel(Base):
    __tablename__ = "scratch_parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
"""
REVISION = """
import time

import sqlalchemy as sa
from alembic import op

revision = "{id}"
down_revision = {after!r}


def upgrade() -> None:
{body}
"""
SLOW = """
    time.sleep(1)
    op.create_table("scratch_slow", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture
def migrated(copy: Copy, environment: Callable[..., None]) -> Copy:
    environment(DATABASE_URL=copy.variables["DATABASE_URL"])
    asyncio.run(migrate())
    return copy


def test_our_chain_is_one_line() -> None:
    scripts = ScriptDirectory.from_config(configs()[0])

    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert [script.revision for script in scripts.walk_revisions() if script.is_branch_point] == []


def test_the_tables_of_the_template_are_listed_in_security_tables() -> None:
    ours = {
        mapper.class_.__tablename__ for mapper in Base.registry.mappers if mapper.class_.__module__ == tables.__name__
    }

    assert ours == SECURITY_TABLES


@pytest.mark.parametrize("chain", [0, 1], ids=["ours", "yours"])
def test_the_migrations_match_the_models(environment: Callable[..., None], chain: int) -> None:
    command.check(configs()[chain])  # a migration is missing: uv run alembic revision --autogenerate -m …


@pytest.mark.slow
def test_migrating_again_changes_nothing(database: Database) -> None:
    before = database.rows(f"SELECT version_num FROM {SECURITY_VERSIONS}")  # noqa: S608

    asyncio.run(migrate())

    assert database.rows(f"SELECT version_num FROM {SECURITY_VERSIONS}") == before  # noqa: S608
    assert len(before) == 1


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRES, reason="SQLite waits for nobody else")
def test_a_migration_may_take_longer_than_a_request(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.database.DRIVER_GRACE_SECONDS", -4.8)

    async def take_long() -> str:
        async with new_engine().connect() as connection:
            await connection.execute(text("SELECT pg_sleep(0.5)"))
            return str(await connection.scalar(text("SHOW statement_timeout")))

    assert asyncio.run(take_long()) == "0"


def add_to_yours(copy: Copy, **revisions: str) -> None:
    """Add these revisions to the copy's own chain, one after the other."""
    heads = ScriptDirectory.from_config(configs()[1]).get_heads()
    after = heads[0] if heads else None
    for name, body in revisions.items():
        written = REVISION.format(id=name, after=after, body=body)
        (copy.folder / f"migrations/versions/{name}.py").write_text(written)
        after = name


@pytest.mark.slow
def test_five_processes_at_once_all_succeed(copy: Copy) -> None:
    add_to_yours(copy, scratch=SLOW)  # so that the processes overlap

    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(lambda _: copy.run("app.manage", "migrate"), range(5)))

    assert [(result.returncode, result.stderr) for result in results if result.returncode] == []
    assert len(copy.rows(f"SELECT * FROM {SECURITY_VERSIONS}")) == 1  # noqa: S608


@pytest.mark.slow
def test_your_revisions_change_your_tables_alone(migrated: Copy) -> None:
    migrated.rows("DROP INDEX ix_sessions_account_id")  # a difference that is not yours to migrate
    ours = migrated.rows("SELECT * FROM sqlite_master ORDER BY name")
    (migrated.folder / "app/api/scratch_parcels.py").write_text(YOUR_TABLE)

    made = migrated.run("alembic", "revision", "--autogenerate", "-m", "parcels")
    migrated.migrate()
    check = migrated.run("alembic", "check")
    tables = migrated.tables()
    undone = migrated.run("alembic", "downgrade", "-1")

    assert made.returncode == 0, made.stderr
    upgrade, downgrade = next((migrated.folder / "migrations/versions").glob("*parcels*")).read_text().split("def down")
    touched = r"op\.(?:create|drop|batch_alter)_table\(\s*['\"](\w+)"
    assert set(re.findall(touched, upgrade)) == set(re.findall(touched, downgrade)) == {"scratch_parcels"}
    assert "accounts.id" in upgrade
    assert check.returncode == 0, check.stdout
    assert "scratch_parcels" in tables
    assert undone.returncode == 0, undone.stderr
    assert migrated.rows("SELECT * FROM sqlite_master ORDER BY name") == ours


@pytest.mark.slow
def test_in_development_an_empty_database_is_migrated(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(DATABASE_URL=STARTED.format(tmp_path))

    assert client.get("/health/ready").status_code == 200


@pytest.mark.slow
def test_in_production_a_start_migrates_nothing(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(production=True, DATABASE_URL=STARTED.format(tmp_path))

    assert client.get("/health/ready").status_code == 503


@pytest.mark.slow
@pytest.mark.parametrize(("version", "warned"), [("0001", True), ("of_a_newer_release", False)])
def test_a_start_names_missing_revisions_and_applies_none(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str], tmp_path: Path, version: str, warned: bool
) -> None:
    database = Database(make_client(DATABASE_URL=STARTED.format(tmp_path)))
    database.rows(f"UPDATE {SECURITY_VERSIONS} SET version_num = :version", version=version)  # noqa: S608

    make_client()

    assert ("manage migrate" in capsys.readouterr().out) == warned
    assert database.rows(f"SELECT * FROM {SECURITY_VERSIONS}") == [(version,)]  # noqa: S608


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="file modes")
def test_a_new_sqlite_file_is_for_its_owner_alone(make_client: MakeClient, migrated: Copy, tmp_path: Path) -> None:
    make_client(DATABASE_URL=STARTED.format(tmp_path))

    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.sqlite3")} == {0o600}
    assert len([*tmp_path.glob("*.sqlite3")]) == 2  # one by `migrate`, one by the start
