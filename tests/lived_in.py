"""A project that people live in: what they write, change, add and delete, always in their own files or shared ones."""

import re
from collections.abc import Collection

from tests.rendering import Project

ORDERS = '''"""Orders, each with an owner."""

import uuid
from uuid import UUID

from fastapi import APIRouter, File, UploadFile
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, DbSession
from app.security.identity import Caller, require_scope
from app.security.request_guard import accepts, deadline
from app.settings import Settings

router = APIRouter(prefix="/orders", tags=["orders"])


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))


@router.post("", status_code=201, dependencies=[require_scope("orders:write")])
async def create_order(caller: Caller, db: DbSession) -> dict[str, UUID]:
    order = Order(owner_id=caller.id)
    db.add(order)
    await db.flush()
    return {"id": order.id}


@router.get("/most", dependencies=[require_scope("orders:read")])
async def most_orders() -> int:
    return Settings.current().most_orders


@router.post(
    "/scan", dependencies=[require_scope("orders:write"), accepts("multipart/form-data", max_bytes=5000), deadline(9)]
)
async def scan_order(file: UploadFile = File()) -> int:
    return len(await file.read())
'''
REVISION = '''"""orders, and no notes any more"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["accounts.id"], name=op.f("fk_orders_owner_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    op.drop_table("notes")


def downgrade() -> None:
    op.drop_table("orders")
'''
TESTS = """from tests.security.callers import AsCaller


def test_an_order_is_made_and_scanned(as_caller: AsCaller) -> None:
    caller = as_caller()

    assert caller.post("/orders").status_code == 201
    assert caller.get("/orders/most").json() == 7
    assert caller.post("/orders/scan", files={"file": b"1234"}).json() == 4
"""
# What is used of a feature, where it is there.
STATISTICS = '''"""For the administrator."""

from fastapi import APIRouter

from app.security.roles import Role, require_role

router = APIRouter(prefix="/statistics")


@router.get("", dependencies=[require_role(Role.ADMIN)])
async def statistics() -> int:
    return 1
'''
STATUS = '''"""For everyone, now and then."""

from fastapi import APIRouter, Request

from app.security.identity import public
from app.security.rate_limits import limiter

router = APIRouter(prefix="/status")


@router.get("", dependencies=[public])
@limiter.limit("5/minute")
def status(request: Request) -> str:
    return "up"
'''
USES_FEATURES = {"roles": ("statistics", STATISTICS), "rate_limits": ("status", STATUS)}
EXAMPLE = ("app/api/notes.py", "tests/api/test_notes.py")


def live_in(project: Project, uses: Collection[str]) -> None:
    """Everything at once, as it would be after some months; nothing is committed. `uses` are features."""
    routers = ["orders", *(USES_FEATURES[feature][0] for feature in uses)]
    for name in EXAMPLE:
        project.file(name).unlink(missing_ok=True)
    project.write("app/api/orders.py", ORDERS)
    for feature in uses:
        name, text = USES_FEATURES[feature]
        project.write(f"app/api/{name}.py", text)
    project.write("tests/api/test_orders.py", TESTS)
    project.write("migrations/versions/0002_orders.py", REVISION)
    project.replace("app/main.py", "from app.api import notes\n", f"from app.api import {', '.join(routers)}\n")
    included = "".join(f"    app.include_router({name}.router)\n" for name in routers)
    project.replace("app/main.py", "    app.include_router(notes.router)\n", included)
    project.append("app/settings.py", "\n    most_orders: int = 7\n")
    project.append("tests/conftest.py", "\nOURS = True\n")
    project.write("README.md", "# Ours\n\n    uv run fastapi dev --port 8321\n")
    project.append("migrations/env.py", "# ours\n")
    project.append("app/manage.py", "# ours\n")
    change_shared_files(project)
    change_files_of_ours_alone(project)


def change_shared_files(project: Project) -> None:
    project.append(".gitignore", "scans/\n")
    hook = "      - id: ours\n        name: ours\n        entry: 'true'\n        language: system\n"
    project.append(".pre-commit-config.yaml", hook)
    project.must("uv", "add", "--quiet", "--frozen", "six", "certifi")
    project.must("uv", "add", "--quiet", "--frozen", "--dev", "pyyaml")


OWN_HOOK = "      - id: instead\n        name: instead\n        entry: 'true'\n        language: system\n"


def write_beside_the_templates_lines(project: Project) -> None:
    """In shared files, at the places that are final since 0.2.0: an update changes no line there."""
    project.replace(".pre-commit-config.yaml", "      # Yours below.\n", OWN_HOOK)
    project.replace("pyproject.toml", '\nversion = "0.1.0"\n', '\nversion = "1.4.0"\n')
    project.replace("pyproject.toml", "[dependency-groups]\n", '[dependency-groups]\ndocs = ["mkdocs"]\n')
    project.replace("pyproject.toml", '"alembic>=1.20,<2"', '"alembic==1.20.1"')
    seconds = "database_statement_seconds: float = Field("
    project.replace("app/database.py", f"{seconds}5,", f"{seconds}30,")
    ignores = '".github/**" = ["S603", "S607"]\n'
    project.replace("pyproject.toml", ignores, f'{ignores}"scripts/**" = ["T20"]\n')


def sort_dependencies(project: Project) -> None:
    text = project.read("pyproject.toml")
    found = re.search(r"(?<=^dependencies = \[\n)(?:    .*\n)+", text, re.MULTILINE)
    assert found
    lines = sorted(found[0].splitlines(keepends=True), key=lambda line: (line.strip().startswith("#"), line))
    project.write("pyproject.toml", text.replace(found[0], "".join(lines)))


def change_files_of_ours_alone(project: Project) -> None:
    project.replace(".env.example", "# RESPONSE_SECONDS=30\n", "RESPONSE_SECONDS=60\n")
    project.append(".env.example", "# MOST_ORDERS=7\n")
    project.append(".env", "MOST_ORDERS=7\n")
    project.append(".github/workflows/ci.yml", "# ours\n")
    project.append(".github/SECURITY.md", "\nOr write to us.\n")


NEEDED = ("app/main.py", "app/manage.py", "app/settings.py", "migrations/env.py", "tests/conftest.py")
STARTS = (".env.example", "AGENTS.md", "README.md", ".github/workflows/ci.yml", ".github/SECURITY.md")


def is_theirs(name: str) -> bool:
    """Whether no update may ever touch it."""
    return name in (".env", *NEEDED, *STARTS) or name.startswith(("app/api/", "tests/api/", "migrations/versions/"))


def theirs(project: Project) -> dict[str, bytes]:
    return {name: content for name, content in project.files().items() if is_theirs(name)}


def everything_else(project: Project) -> dict[str, bytes]:
    """What the template and its users share, and what is the template's alone; without Copier's own record."""
    found = project.files().items()
    return {name: content for name, content in found if not is_theirs(name) and name != ".copier-answers.yml"}
