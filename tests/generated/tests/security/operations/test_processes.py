"""The command line and its scripts as processes: a fresh clone, broken code, conflicts, a newer database."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.security.core.settings import ROOT
from app.security.core.tables import SECURITY_VERSIONS
from app.security.operations.start_up import NOT_SECURED
from tests.security.operations.test_migrations import add_to_yours
from tests.security.project_copy import Copy

BROKEN = {
    "import no_such_module": "app/api/__init__.py imports no_such_module, which is not installed: "
    "uv add no_such_module",
    "def half(": "SyntaxError: '(' was never closed (__init__.py, line 2)",
    "<<<<<<< before updating": "app/api/__init__.py, line 2: a conflict of an update",
    "raise ValueError('postgresql://api:hunter2@db')": "ValueError: postgresql://[redacted]@db",
}
CREATE = """
    op.create_table("scratch_parents", sa.Column("id", sa.Integer, primary_key=True))
    parent = sa.ForeignKey("scratch_parents.id", ondelete="CASCADE")
    columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("parent", sa.Integer, parent)
    op.create_table("scratch_children", *columns)
    op.execute("INSERT INTO scratch_parents VALUES (1)")
    op.execute("INSERT INTO scratch_children VALUES (1, 1)")
"""
ALTER = """
    with op.batch_alter_table("scratch_parents", recreate="always") as batch:
        batch.add_column(sa.Column("name", sa.String(10)))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_fresh_clone_needs_nothing_but_a_secret(copy: Copy) -> None:
    del copy.variables["SECRET_KEY"]

    written = copy.run("app.manage", "secrets", "new", "--write")
    copy.migrate()
    doctor = copy.run("app.manage", "doctor")

    assert written.returncode == 0, written.stderr
    assert doctor.returncode == 1  # it is production, where this app does not start yet
    assert "Problem: PUBLIC_BASE_URL" in doctor.stdout
    assert "SECRET_KEY" not in doctor.stdout


def test_a_server_without_settings_gets_their_names_and_no_database(copy: Copy) -> None:
    copy.variables = {}

    refused = copy.run("app.manage", "migrate")

    assert refused.returncode == 78
    for reason in ("SECRET_KEY: is missing", "PUBLIC_BASE_URL: is missing", "DATABASE_URL: SQLite is for development"):
        assert reason in refused.stderr
    assert not (copy.folder / "app.sqlite3").exists()


@pytest.mark.parametrize(("code", "problem"), BROKEN.items(), ids=["import", "syntax", "conflict", "secret"])
def test_doctor_says_what_breaks_the_app(copy: Copy, code: str, problem: str) -> None:
    (copy.folder / "app/api/__init__.py").write_text(f"import math\n{code}\n")
    copy.variables |= {"FASTAPI_ENV": "development", "MAX_URL_BYTES": "1"}

    result = copy.run("app.manage", "doctor", "--json")

    report = json.loads(result.stdout)
    problems = report["problems"]
    assert (result.returncode, result.stderr) == (1, "")
    assert problem in problems
    assert [other for other in problems if other.startswith("MAX_URL_BYTES: ")]
    assert [hint for hint in report["hints"] if hint.endswith("`uv run manage migrate`")]


def test_the_conflict_check_runs_with_any_python_and_nothing_installed(copy: Copy) -> None:
    command = [sys.executable, "-I", "app/security/conflicts.py"]
    clean = subprocess.run(command, cwd=copy.folder, capture_output=True, text=True)
    (copy.folder / "app/database.py").write_text("<<<<<<< before updating\n")

    left = subprocess.run(command, cwd=copy.folder, capture_output=True, text=True)

    assert (clean.returncode, clean.stdout, left.returncode) == (0, "No conflicts.\n", 1)
    for words in ("app/database.py, line 1", "`git add` the file", "git reset --hard"):
        assert words in left.stdout


@pytest.mark.parametrize("table", [SECURITY_VERSIONS, "alembic_version"])
def test_a_database_that_a_newer_checkout_has_migrated_is_not_changed(copy: Copy, table: str) -> None:
    copy.migrate()
    copy.rows(f"DELETE FROM {table}")  # noqa: S608
    copy.rows(f"INSERT INTO {table} VALUES ('newer')")  # noqa: S608

    done = copy.run("app.manage", "migrate")

    assert (done.returncode, done.stdout) == (1, "")
    assert "Nothing was migrated: " in done.stderr
    assert "'newer'" in done.stderr
    assert "Traceback" not in done.stderr


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(copy: Copy) -> None:
    add_to_yours(copy, scratch1=CREATE, scratch2=ALTER)

    copy.migrate()

    assert copy.rows("SELECT * FROM scratch_parents") == [(1, None)]
    assert copy.rows("SELECT * FROM scratch_children") == [(1, 1)]


def test_the_tests_of_an_app_without_its_protections_end_with_one_sentence(copy: Copy) -> None:
    main = copy.folder / "app/main.py"
    main.write_text(main.read_text().replace("    secure(app)\n", ""))
    shutil.copytree(ROOT / "tests", copy.folder / "tests")

    result = copy.run("pytest", "--quiet")

    assert result.returncode == 1
    assert [line.strip(" !").rpartition("Exit: ")[2] for line in result.stdout.splitlines()] == [NOT_SECURED]
