"""Revisions and tables that are not those of `Base`: of SQLModel, of another declarative base, or of no model."""

import re
from pathlib import Path

import pytest

from tests.security.project_copy import Copy

MODELS = """
from sqlalchemy import String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.database import Base


class Upper(TypeDecorator[str]):
    impl = String
    cache_ok = True


class Other(DeclarativeBase):
    pass


class Hero(Other):
    __tablename__ = "heroes"
    name: Mapped[str] = mapped_column(Upper, primary_key=True)
"""
WARNING = "no revision sees the tables of Other (heroes): use Base of app.database, or first write "
WARNING += "Other.metadata = Base.metadata"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_tables_that_no_revision_sees_are_named_with_the_line_that_adds_them(copy: Copy) -> None:
    models = copy.folder / "app/api/heroes.py"
    models.write_text(MODELS)
    copy.migrate()

    unseen = copy.run("alembic", "revision", "--autogenerate", "-m", "empty")
    models.write_text(MODELS.replace("class Hero(", "Other.metadata = Base.metadata\n\n\nclass Hero("))
    copy.migrate()
    seen = copy.run("alembic", "revision", "--autogenerate", "-m", "heroes")
    copy.migrate()

    assert WARNING in unseen.stderr
    assert WARNING not in seen.stderr
    assert copy.rows("SELECT * FROM heroes") == []


def test_a_revision_of_the_database_without_a_file_is_named(copy: Copy) -> None:
    copy.migrate()
    copy.run("alembic", "revision", "-m", "lost")
    copy.migrate()
    for revision in (copy.folder / "migrations/versions").glob("*_lost.py"):
        revision.unlink()

    done = copy.run("app.manage", "doctor")

    assert re.search(r"revision [0-9a-f]{12} of the database has no file here: of another branch", done.stderr)


def test_a_table_that_a_revision_would_drop_is_named(copy: Copy) -> None:
    copy.migrate()
    copy.rows("CREATE TABLE invoices (id INTEGER PRIMARY KEY)")

    done = copy.run("alembic", "revision", "--autogenerate", "-m", "drops")

    assert "no model has the table invoices: a new revision drops it with all its rows" in done.stderr
    assert "accounts" not in done.stderr


def test_a_revision_imports_only_what_it_uses(copy: Copy) -> None:
    copy.migrate()
    copy.rows("CREATE TABLE invoices (id INTEGER PRIMARY KEY)")

    copy.run("alembic", "revision", "--autogenerate", "-m", "drops")
    copy.run("alembic", "revision", "-m", "by hand")

    revisions = [path.read_text() for path in (copy.folder / "migrations/versions").glob("*_*.py")]
    written = [text for text in revisions if '"""drops' in text or '"""by hand' in text]
    assert [("import sqlalchemy as sa" in text) == ("sa." in text) for text in written] == [True, True]
