"""SQLModel | one line | `class Model(SQLModel): metadata = Base.metadata` is the base of your tables, so that Alembic
and foreign keys see them
"""

from uuid import UUID, uuid4

from sqlmodel import Field, SQLModel

from app.database import Base

PACKAGES = ["sqlmodel"]


class Model(SQLModel):
    metadata = Base.metadata


class Hero(Model, table=True):
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str


def test_its_tables_are_among_ours() -> None:
    assert "hero" in Base.metadata.tables
