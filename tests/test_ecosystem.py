"""Libraries and servers beside a generated project: each module of `tests/ecosystem` is a test in one.

Its docstring is its row of `docs/ecosystem.md`; PACKAGES names what is installed beside the project, in the versions
that its own dependencies allow.
"""

import ast
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nightly import rows, sample
from tests.rendering import ROOT, Environment, Project
from tests.variants import ALL

CASES = {path.stem: path for path in sorted((ROOT / "tests/ecosystem").glob("[a-z]*.py"))}
TABLE = ROOT / "docs/ecosystem.md"


def row(case: str) -> str:
    text = ast.get_docstring(ast.parse(CASES[case].read_text())) or ""
    return f"| {' '.join(text.split())} |"


def packages(case: str) -> list[str]:
    for node in ast.parse(CASES[case].read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "PACKAGES":
            found: list[str] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return found
    raise AssertionError(f"{case} names no PACKAGES")


def _name(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0]


def test_the_table_has_a_row_for_each_test() -> None:
    shown = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]

    assert shown == [row(case) for case in CASES]


def test_the_editor_of_the_guide_is_the_one_that_is_tested() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/how-to/pages.md").read_text(), re.M | re.S)

    assert code in CASES["strawberry_graphql"].read_text()


@pytest.mark.parametrize("case", rows(CASES, now=sample(list(CASES), one_in=4)))
def test_it_works_beside_a_generated_project(
    project: Callable[..., Project], environment: Environment, case: str, tmp_path: Path
) -> None:
    service, beside = project(**ALL), tmp_path / "beside"
    python = str(environment.path / "bin/python")
    needed = packages(case)
    frozen = service.must("uv", "pip", "freeze", "--python", python).splitlines()
    pinned = [line for line in frozen if line.partition("==")[0] not in map(_name, needed)]
    allowed = tomllib.loads(service.read("pyproject.toml"))["project"]["dependencies"]
    service.write("versions.txt", "\n".join([*pinned, *allowed]))
    if needed:
        target = ("--target", str(beside), "--constraint", "versions.txt")
        service.must("uv", "pip", "install", "--quiet", "--python", python, *target, *needed)
    service.write("tests/test_beside.py", CASES[case].read_text())

    # A library's own deprecation warnings are no finding here.
    command = ("python", "-m", "pytest", "--quiet", "-W", "default", "-m", "", "tests/test_beside.py")
    service.must(*command, CI="true", PYTHONPATH=str(beside))
