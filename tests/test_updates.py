"""A project that people live in takes an update, and a feature goes and comes back, without a conflict."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lived_in import OWN_HOOK, write_beside_the_templates_lines
from tests.rendering import Project, Template

pytestmark = pytest.mark.rotating(2)
ORDERS = '''"""Orders, each with an owner."""

import uuid
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, DbSession
from app.security.identity import Caller, require_scope

router = APIRouter(prefix="/orders", tags=["orders"])


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))


@router.post("", status_code=201, dependencies=[require_scope("orders:write")])
async def create_order(caller: Caller, db: DbSession) -> dict[str, UUID]:
    order = Order(owner_id=caller.id)
    db.add(order)
    await db.flush()
    return {"id": order.id}
'''

ORDERS_TEST = """from collections.abc import Callable

from tests.security.persons import Person


def test_an_order_can_be_made(as_person: Callable[..., Person]) -> None:
    assert as_person().post("/orders").status_code == 201
"""


def live_in(project: Project) -> None:
    """What people do to a project: a resource with its table, a dependency, their own words in README and .env."""
    project.commit("Generate")
    project.must("python", "-m", "app.manage", "migrate", FASTAPI_ENV="development")
    project.write("app/api/orders.py", ORDERS)
    project.write("tests/api/test_orders.py", ORDERS_TEST)
    project.replace("app/main.py", "from app.api import notes\n", "from app.api import notes, orders\n")
    routers = "    app.include_router(notes.router)\n"
    project.replace("app/main.py", routers, f"{routers}    app.include_router(orders.router)\n")
    project.must("alembic", "revision", "--autogenerate", "-m", "orders")
    project.must("ruff", "format", ".")
    project.write("README.md", "# Ours\n")
    project.file("tests/api/test_notes.py").unlink()
    project.replace(".env", "SECRET_KEY=", "OURS=1\nSECRET_KEY=")
    project.must("uv", "add", "--quiet", "--no-sync", "six", "certifi")
    project.replace(".env.example", "# RESPONSE_SECONDS=30\n", "RESPONSE_SECONDS=60\n")
    write_beside_the_templates_lines(project)
    project.commit("Live in it")


NEEDED = ["app/main.py", "app/manage.py", "app/settings.py", "migrations/env.py", "tests/conftest.py"]
EXAMPLES = [
    ".env.example",
    "README.md",
    "app/api/notes.py",
    "tests/api/test_notes.py",
    "migrations/versions/0001_notes.py",
]
OURS = [".env", *NEEDED, *EXAMPLES]


def ours(project: Project) -> dict[str, bytes]:
    return {name: content for name, content in project.files().items() if is_ours(name)}


def is_ours(name: str) -> bool:
    return name in OURS or name.startswith(("app/api/", "tests/api/", "migrations/versions/"))


def assert_no_conflict(project: Project) -> None:
    assert project.must("git", "diff", "--name-only", "--diff-filter=U") == ""
    rejected = [name for name in project.files() if name.endswith(".rej")]
    marked = [name for name, text in project.files().items() if re.search(rb"^<<<<<<< ", text, re.MULTILINE)]
    assert rejected + marked == []


NEW_HOOK = "      - id: new\n        name: new\n        entry: 'true'\n        language: system\n"
NEW_FLOOR = 'constraint-dependencies = ["alembic>=1.20.1"]\n'
NEW_IGNORES = '[tool.ruff.lint.extend-per-file-ignores]\n"migrations/**" = ["E501"]\n\n'


def release_next_version(template: Template) -> None:
    """A version that changes a protection, every example and every shared file, each where the template's lines go."""
    template.replace("template/app/security/authentication/tokens.py", "LEEWAY_SECONDS = 10", "LEEWAY_SECONDS = 5")
    template.replace("template/pyproject.toml", "[tool.uv]\n", f"[tool.uv]\n{NEW_FLOOR}")
    ours_end = '    # Yours below: "uv add" appends here.\n'
    template.replace("template/pyproject.toml", ours_end, f'    "limits>=5",\n{ours_end}')
    template.replace("template/pyproject.toml", "[tool.ruff.lint.isort]\n", f"{NEW_IGNORES}[tool.ruff.lint.isort]\n")
    template.replace("template/.pre-commit-config.yaml", "      - id: secrets\n", f"{NEW_HOOK}      - id: secrets\n")
    template.replace("template/.env.example", "# Yours below.", "# NEW_NUMBER=1\n# Yours below.")
    repository = Project(template.path)
    repository.write("template/app/security/brought.py", '"""Brought by an update."""\n')
    for name in OURS:
        repository.write(f"template/{name}", repository.read(f"template/{name}") + "# Said in the next version.\n")
    template.release("v9999.1.0")


def update(template: Template, project: Project, **answers: str) -> None:
    template.update(project, **answers)
    assert_no_conflict(project)
    project.commit("Update")


@pytest.mark.slow
def test_an_update_and_a_toggle_leave_what_people_made_alone(runnable: Template, tmp_path: Path) -> None:
    template = runnable.fork(tmp_path / "template")
    lived_in = template.copy(tmp_path / "project")
    live_in(lived_in)
    before = ours(lived_in)
    release_next_version(template)

    update(template, lived_in)
    update(template, lived_in, roles="")
    without_roles = lived_in.files()
    update(template, lived_in, roles="user, admin")

    assert ours(lived_in) == before
    assert "app/security/roles.py" not in without_roles
    assert "LEEWAY_SECONDS = 5" in lived_in.read("app/security/authentication/tokens.py")
    dependencies = lived_in.read("pyproject.toml")
    assert all(name in dependencies for name in ("alembic==1.20.1", "alembic>=1.20.1", "limits>=5", "six", "certifi"))
    assert all(hook in lived_in.read(".pre-commit-config.yaml") for hook in (NEW_HOOK, OWN_HOOK))
    lived_in.must("uv", "lock", "--quiet")
    assert_like_a_fresh_one(lived_in, template.copy(tmp_path / "fresh"))
    lived_in.must("python", "-m", "pytest", "--quiet", "tests/api", "tests/security/authentication/test_sessions.py")


def assert_like_a_fresh_one(lived_in: Project, fresh: Project) -> None:
    merged = ("app/database.py", "pyproject.toml", ".pre-commit-config.yaml", ".copier-answers.yml")
    template_owned = {name: text for name, text in fresh.files().items() if name not in merged and not is_ours(name)}
    found = lived_in.files()
    assert {name for name in template_owned if found.get(name) != template_owned[name]} == set()


def test_your_revision_makes_your_table_alone(project: Callable[..., Project]) -> None:
    lived_in = project()
    live_in(lived_in)
    revision = next(
        text for name, text in lived_in.files().items() if name.endswith("_orders.py") and "versions" in name
    )

    operations = re.findall(r"op\.(?!f\b)(\w+)", revision.decode())
    assert operations == ["create_table", "drop_table"]
    assert b'["owner_id"], ["accounts.id"]' in revision
    lived_in.must("python", "-m", "app.manage", "migrate")
    lived_in.must("alembic", "check")


ROLES_OF_EVERYONE = """
import asyncio
from app.database import Database
from sqlalchemy import text
async def show():
    async with Database().begin() as db:
        found = text("SELECT login, role FROM accounts JOIN account_roles ON id = account_id ORDER BY 1, 2")
        for row in await db.execute(found):
            print(*row)
asyncio.run(show())
"""


def test_other_roles_change_nobodys_rights(project: Callable[..., Project], runnable: Template) -> None:
    lived_in = project(roles="user, admin")
    lived_in.commit()
    lived_in.must("python", "-m", "app.manage", "migrate")
    lived_in.must("python", "-m", "app.manage", "users", "invite", "someone")
    lived_in.must("python", "-m", "app.manage", "users", "invite", "boss", "--role", "admin")
    before = lived_in.must("python", "-c", ROLES_OF_EVERYONE)

    for roles in ("editor, admin", ""):
        update(runnable, lived_in, roles=roles)
        assert lived_in.must("python", "-c", ROLES_OF_EVERYONE) == before

    assert before == "boss admin\nsomeone user\n"


def test_another_name_changes_no_credential(template: Template, tmp_path: Path) -> None:
    project = template.copy(tmp_path / "project")
    project.commit()
    before = project.read("app/security/core/settings.py")

    update(template, project, project_name="Something Else")

    # The name is what no password may be made of; credentials carry the slug.
    assert project.read("app/security/core/settings.py") == before.replace(
        'NAME = "Demo Service"', 'NAME = "Something Else"'
    )
    assert project.answers()["slug"] == "demo-service"
