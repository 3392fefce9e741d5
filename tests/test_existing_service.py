"""docs/how-to/existing-service.md: its table says what a service that was moved unchanged gets to read."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.rendering import ROOT, Project
from tests.test_how_to import write
from tests.test_tutorial import blocks, commands
from tests.variants import ALL

GUIDE = (ROOT / "docs/how-to/existing-service.md").read_text()
REFUSALS = re.findall(r"^\| [^|]+ \| `([^`]+)` \|", GUIDE.partition("| The refusal |")[2], re.MULTILINE)
LOGIN = """    from typing import Annotated

    from fastapi import Depends
    from fastapi.security import OAuth2PasswordBearer

    @app.get("/products")
    def products(token: Annotated[str, Depends(OAuth2PasswordBearer(tokenUrl="/token"))]) -> list[str]:
        return []

    secure(app)
"""
CORS = """    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    secure(app)
"""
MOVED = [  # the file, what stands there, and what the service had instead
    ("app/main.py", "    secure(app)\n", LOGIN),
    ("app/main.py", "    secure(app)\n", CORS),
    ("app/main.py", ", **fastapi_options()", ""),
]


@pytest.mark.nightly
@pytest.mark.parametrize(("edit", "refusal"), list(zip(MOVED, REFUSALS, strict=True)), ids=["login", "cors", "app"])
def test_a_service_that_is_moved_as_it_was_reads_what_to_change(
    project: Callable[..., Project], edit: tuple[str, str, str], refusal: str
) -> None:
    service = project(**ALL)
    service.replace(*edit)

    done = service.run("python", "-m", "app.manage", "routes", FASTAPI_ENV="development")

    assert done.returncode == 1
    assert refusal in done.stderr


(BEGINNING,) = re.findall(r"^```python\n(def upgrade.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
PROGRAMS = {"uv run manage": "python -m app.manage", "uv run alembic": "python -m alembic"}
TABLE = "CREATE TABLE products (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL)"


def run_section(service: Project, section: str) -> None:
    for block in blocks(section):
        write(service, block)
    for command in commands(section):
        for typed, program in PROGRAMS.items():
            command = command.replace(typed, program)
        service.must("bash", "-c", command, FASTAPI_ENV="development")
        if " revision " in command:
            (written,) = [path.name for path in service.file("migrations/versions").glob("*_products.py")]
            service.replace(f"migrations/versions/{written}", "def upgrade() -> None:\n", BEGINNING)


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.nightly
def test_a_database_with_rows_gets_every_table_of_the_project_and_keeps_its_own(
    project: Callable[..., Project],
) -> None:
    service, sections = project(**ALL), GUIDE.split("\n## ")[1:]
    old, live = service.file("shop.sqlite3"), service.file("live.sqlite3")
    for database in (old, live):
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(TABLE)
            connection.execute("INSERT INTO products VALUES (1, 'Milk')")

    for section in sections[:2]:
        run_section(service, section)

    new = service.file("new.sqlite3")
    for database in (new, live):
        address = f"sqlite:///{database}"
        service.must("python", "-m", "app.manage", "migrate", FASTAPI_ENV="development", DATABASE_URL=address)
    assert {"accounts", "notes", "products"} <= tables(old) == tables(new) == tables(live)
    for database in (old, live):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("SELECT * FROM products").fetchall() == [(1, "Milk")]


@pytest.mark.nightly
def test_revisions_of_the_service_come_before_those_of_the_project(project: Callable[..., Project]) -> None:
    service = project(**ALL)
    address = f"sqlite:///{service.file('shop.sqlite3')}"
    migrate = ("python", "-m", "app.manage", "migrate")
    with closing(sqlite3.connect(service.file("shop.sqlite3"))) as connection, connection:
        connection.execute(TABLE)
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('abcd')")

    refused = service.run(*migrate, FASTAPI_ENV="development", DATABASE_URL=address)
    service.write("migrations/versions/abcd.py", REVISION)
    service.replace("migrations/versions/0001_notes.py", "down_revision = None", 'down_revision = "abcd"')
    service.must(*migrate, FASTAPI_ENV="development", DATABASE_URL=address)

    assert "Can't locate revision identified by" in refused.stdout + refused.stderr
    assert {"accounts", "notes", "products"} <= tables(service.file("shop.sqlite3"))


REVISION = f"""from alembic import op

revision = "abcd"
down_revision = None


def upgrade() -> None:
    op.execute("{TABLE}")
"""
