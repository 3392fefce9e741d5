"""What a start finds of the migrations: as Alembic would say it, and without Alembic where nothing waits."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.security.core.settings import ROOT
from app.security.core.tables import SECURITY_VERSIONS
from app.security.operations.schema_check import newest
from tests.security.fixtures import Database, MakeClient

START = """
import sys
from app.main import app
from starlette.testclient import TestClient
with TestClient(app):
    sys.exit("alembic" in sys.modules)
"""
CHAINS: dict[str, dict[str, str]] = {
    "none": {},
    "one": {"a": "None"},
    "a line": {"a": "None", "b": '"a"', "c": "'b'"},
    "two heads": {"a": "None", "b": '"a"', "c": '"a"'},
    "a merge": {"a": "None", "b": '"a"', "c": '"a"', "d": '("b", "c")'},
    "two beginnings": {"a": "None", "b": "None"},
}


@pytest.mark.parametrize(
    "form", ["revision = {0}\ndown_revision = {1}", "revision: str = {0}\ndown_revision: str | None = {1}"]
)
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_the_newest_revisions_are_those_that_alembic_names(tmp_path: Path, chain: dict[str, str], form: str) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    for name, after in chain.items():
        (versions / f"{name}.py").write_text(form.format(f'"{name}"', after))
    config = Config()
    config.set_main_option("script_location", str(tmp_path).replace("%", "%%"))

    assert newest(versions) == set(ScriptDirectory.from_config(config).get_heads())


@pytest.mark.parametrize(
    "text",
    [
        'revision: str = (\n"b"\n)\ndown_revision = (\n"a"\n)',
        'import os; revision = "b"; down_revision = "a"',
        '# coding: latin-1\n# \xe9\nrevision = "b"\ndown_revision = "a"',
        'revision = down_revision = "b"\ndown_revision = "a"',
        '"""\nrevision = "c"\n"""\nrevision = "b"\n# down_revision = "c"\ndown_revision = "a"',
        'if True:\n    revision = "b"\n    down_revision = "a"',
        '(revision, down_revision) = ("b", "a")',
        'name = "b"\nrevision = name\ndown_revision = "a"',
        'revision = 2\ndown_revision = "a"',
        "no Python",
        "# \xe9",
    ],
)
def test_of_a_file_that_is_written_otherwise_nothing_is_guessed(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text('revision = "a"\ndown_revision = None')
    (tmp_path / "b.py").write_text(text, encoding="latin-1")
    (tmp_path / ".#b.py").symlink_to("nobody@nowhere.1")  # as Emacs leaves it

    assert newest(tmp_path) in ({"b"}, None)


def test_a_start_with_nothing_to_do_does_not_wait_for_alembic_to_be_imported(environment: Callable[..., None]) -> None:
    done = subprocess.run([sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("left", ["0001", "of another branch"])
def test_a_database_that_stands_elsewhere_is_looked_at_by_alembic(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    database = Database(make_client())
    found = database.rows(f"SELECT version_num FROM {SECURITY_VERSIONS}")  # noqa: S608
    database.rows(f"UPDATE {SECURITY_VERSIONS} SET version_num = :left", left=left)  # noqa: S608
    try:
        make_client()
    finally:
        database.rows(f"UPDATE {SECURITY_VERSIONS} SET version_num = :found", found=found[0][0])  # noqa: S608

    assert ("manage migrate" in capsys.readouterr().out) == (left == "0001")
