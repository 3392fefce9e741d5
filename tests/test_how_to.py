"""The guides in docs/how-to: their code is put into a project, linted, type-checked strictly, and run.

What a guide adds with `uv add` is installed into a copy of the shared environment.

A block with a title is a file: new, or added to the end of what is there. In `app/main.py` its imports follow the
others, and its other lines stand before `secure(app)`, or instead of it where the block calls it.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.nightly import rows
from tests.rendering import ROOT, Environment, Project, Template
from tests.variants import ALL

GUIDES = {path.stem: path for path in sorted((ROOT / "docs/how-to").glob("[a-z]*.md"))}
GUIDES["tutorial"] = ROOT / "docs/tutorial/README.md"  # its commands are typed by tests/test_tutorial.py
BLOCK = re.compile(r'^```(?P<kind>\w+) title="(?P<file>[^"]+)"\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)
PACKAGES = re.compile(r"^uv add (.+)$", re.MULTILINE)
MOST_LINES = 25  # of an owner's code, without imports and tests
CALL = re.compile(r"^    secure\(app", re.MULTILINE)


class Block(NamedTuple):
    file: str
    code: str

    @property
    def is_test(self) -> bool:
        return self.file.startswith("tests/")

    def lines(self) -> list[str]:
        """Its lines of code, without imports and blank lines."""
        without_imports = re.sub(
            r"^(from .*? import (\(.*?\)|[^\n]*)|import [^\n]*)$", "", self.code, flags=re.M | re.S
        )
        return [line for line in without_imports.splitlines() if line.strip()]


def blocks(guide: str) -> list[Block]:
    """Files of Python; those of the tutorial's page, too. The front end's guide has a test in a browser."""
    found = BLOCK.finditer(GUIDES[guide].read_text())
    return [Block(one["file"], one["code"]) for one in found if one["kind"] == "python" or guide == "tutorial"]


def write(service: Project, block: Block) -> None:
    if block.file == "app/main.py":
        return _assemble(service, block.code)
    if service.file(block.file).exists():
        return service.append(block.file, f"\n\n{block.code}")
    service.write(block.file, block.code)
    return None


def _assemble(service: Project, code: str) -> None:
    imports = "".join(f"{line}\n" for line in code.splitlines() if line.startswith(("from ", "import ")))
    body = "".join(f"    {line}\n" for line in code.splitlines() if line and not line.startswith(("from ", "import ")))
    service.replace("app/main.py", "from fastapi import FastAPI\n", f"from fastapi import FastAPI\n{imports}")
    text = service.read("app/main.py")
    before, after = text[: (call := CALL.search(text).start())], text[call:]  # type: ignore[union-attr]
    after = after.removeprefix("    secure(app)\n") if "secure(app" in body else after
    service.write("app/main.py", before + body + after)


def _with_packages(service: Project, guides: list[str], folder: Path) -> Project:
    lines = [line for guide in guides for line in PACKAGES.findall(GUIDES[guide].read_text())]
    if not lines or service.environment is None:
        return service
    shutil.copytree(service.environment.path, folder, symlinks=True, copy_function=os.link)
    extended = Project(service.path, Environment(folder))
    extended.must("uv", "--quiet", "pip", "install", "--python", str(folder / "bin/python"), *" ".join(lines).split())
    return extended


@pytest.mark.parametrize("guide", sorted(GUIDES.keys() - {"tutorial"}))
def test_a_guide_is_short(guide: str) -> None:
    own = [line for block in blocks(guide) if not block.is_test for line in block.lines()]

    assert len(own) <= MOST_LINES


@pytest.mark.rotating(3)
@pytest.mark.parametrize("chosen", [list(GUIDES), *rows([[guide] for guide in GUIDES], now=[])], ids="+".join)
def test_the_code_of_guides_works(
    project: Callable[..., Project], runnable: Template, tmp_path: Path, chosen: list[str]
) -> None:
    service = _with_packages(project(**ALL), chosen, tmp_path / "environment")
    code = [block for guide in chosen for block in blocks(guide)]
    for block in code:
        write(service, block)
    if any("__tablename__" in block.code for block in code):
        variables = {"FASTAPI_ENV": "development", "DATABASE_URL": "sqlite:///guide.sqlite3"}
        service.must("python", "-m", "app.manage", "migrate", **variables)
        service.must("python", "-m", "alembic", "revision", "--autogenerate", "--message", "guide", **variables)

    service.must("ruff", "check", "--fix-only", "--select", "I,E402", ".")
    service.must("ruff", "check", ".")
    service.must("python", "-m", "mypy", "-p", "app", MYPY_CACHE_DIR=str(runnable.scratch / "mypy"))
    tests = {block.file for block in code if block.is_test}
    assert len(tests) >= len(chosen), "a guide has a test"
    service.must("python", "-m", "pytest", "--quiet", "-m", "", *sorted(tests), CI="true")
