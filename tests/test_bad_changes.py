"""Changes of a hurried person or a coding agent: the project refuses each before it is committed, with a reason."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.nightly import rows, sample
from tests.rendering import Project
from tests.test_secret_scan import NEW_KEY, made

NOTES, MAIN = "app/api/notes.py", "app/main.py"
DELETE = '@router.delete("/{note_id}", status_code=204'
OPEN = '\n\n@router.get("/all"POLICY)\nasync def everything() -> list[str]:\n    return []\n'
PUBLIC = "\n\nfrom app.security.identity import public" + OPEN.replace("POLICY", ", dependencies=[public]")
CORS = """    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    secure(app)
"""
QUERY = """
from sqlalchemy import text


async def find(db: DbSession, name: str) -> object:
    return await db.execute(text(f"SELECT * FROM notes WHERE title = '{name}'"))
"""
LIMIT = '@limiter.limit("5/minute")\n'
LIMITED = "\n\nfrom fastapi import Request\n\nfrom app.security.rate_limits import limiter" + PUBLIC.replace(
    "async def everything()", f"{LIMIT}async def everything(request: Request)"
)
UNVERIFIED = 'import httpx\n\nhttpx.get("https://a.example", verify=False)\n'
WORKFLOW = "on: push\njobs:\n  more:\n    runs-on: x\n    steps:\n      - uses: a/b@v1\n"
HEADERS, ACCESS_TESTS = "app/security/http/headers.py", "tests/security/access/test_access.py"


class Change(NamedTuple):
    hook: str
    reason: str
    make: Callable[[Project], object]


def edit(name: str, old: str, new: str) -> Callable[[Project], object]:
    return lambda project: project.replace(name, old, new)


def add(name: str, text: str) -> Callable[[Project], object]:
    return lambda project: project.write(name, (project.read(name) if project.file(name).exists() else "") + text)


def lose_a_limit(project: Project) -> None:
    add(NOTES, LIMITED)(project)
    project.commit()
    edit(NOTES, LIMIT, "")(project)


CHANGES = {
    "a route loses its scope": Change(
        "change",
        "DELETE /notes/{note_id} does not require scope notes:write any more",
        edit(NOTES, f'{DELETE}, dependencies=[require_scope("notes:write")])', f"{DELETE})"),
    ),
    "a route loses its limit": Change(
        "change",
        "GET /notes/all does not have rate limit 5/minute any more",
        lose_a_limit,
    ),
    "a route has no policy": Change(
        "change", "GET /notes/all requires no authentication", add(NOTES, OPEN.replace("POLICY", ""))
    ),
    "a route is public": Change("change", "GET /notes/all does not require authentication", add(NOTES, PUBLIC)),
    "CORS for everybody": Change("change", "CORSMiddleware", edit(MAIN, "    secure(app)\n", CORS)),
    "a file of the template is edited": Change("change", f"{HEADERS} is the template's", add(HEADERS, "# Shorter.\n")),
    "a test of the template is deleted": Change(
        "change", f"{ACCESS_TESTS} is the template's", lambda project: project.file(ACCESS_TESTS).unlink()
    ),
    "a finding is silenced": Change(
        "code", "# nosec without rule and reason", add(NOTES, '\n\nTOKEN = "x"  # nosec\n')
    ),
    "SQL is built from text": Change("code", "SQL", add(NOTES, QUERY)),
    "certificates are not checked": Change("code", "verify=False", add("app/api/more.py", UNVERIFIED)),
    "a secret is committed": Change(
        "secrets", "docs/more.md", lambda project: project.write("docs/more.md", f"{made(project, NEW_KEY)}\n")
    ),
    "the lock is forgotten": Change(
        "lock", "uv lock", edit("pyproject.toml", '    "typer>=', '    "six",\n    "typer>=')
    ),
    "a workflow takes what is not pinned": Change("workflows", "unpinned", add(".github/workflows/more.yml", WORKFLOW)),
}


@pytest.mark.parametrize("name", rows(CHANGES, now=sample([*CHANGES], one_in=6)))
def test_a_bad_change_is_refused_with_a_reason(owned: Project, name: str) -> None:
    change = CHANGES[name]
    change.make(owned)
    owned.must("git", "add", "--all")

    done = owned.run("pre-commit", "run", change.hook, UV_NO_SYNC="1")

    assert done.returncode == 1, done.stdout
    assert change.reason in done.stdout


def test_at_least_ten_bad_changes_are_tried() -> None:
    assert len(CHANGES) >= 10


@pytest.mark.nightly
def test_an_update_may_change_files_of_the_template(owned: Project) -> None:
    owned.append("app/security/http/headers.py", "# Of a later version.\n")
    owned.append(".copier-answers.yml", "# v9\n")

    done = owned.run("python", ".github/security/check_change.py", "--json")

    assert json.loads(done.stdout) == {"template_files": [], "weaker_routes": []}
    assert done.returncode == 0


@pytest.mark.nightly
def test_a_link_to_another_folder_is_no_reason_to_fail(owned: Project) -> None:
    owned.file("shared").symlink_to("/nonexistent")
    owned.commit()
    owned.append(NOTES, "# More.\n")

    assert owned.run("python", ".github/security/check_change.py").returncode == 0


def test_what_agents_are_told_is_short_and_true(owned: Project) -> None:
    text = owned.read("AGENTS.md")
    commands = re.findall(r"`(uv run [^`]+|uvx [^`]+)`", text)
    paths = re.findall(r"`((?:app|tests|docs|migrations|\.github)/[\w./-]+)`", text)
    hooks = re.findall(r"\bid: (\w+)", owned.read(".pre-commit-config.yaml"))

    assert len(text.splitlines()) <= 40
    assert paths
    assert [path for path in paths if not owned.file(path).exists()] == []
    known = owned.must("python", "-m", "app.manage", "--help")
    assert [name for name in re.findall(r"uv run manage (\w+)", " ".join(commands)) if name not in known] == []
    assert set(re.findall(r"hook `(\w+)`", text)) <= set(hooks)
