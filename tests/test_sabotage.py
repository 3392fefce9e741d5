"""The generated tests bite: without any one of the protections the generated suite turns red.

Each sabotage is a small edit of a generated project that has everything on; the named test file has to fail, and it has
to fail as a test: a project that no longer starts would turn anything red. All of them run at night. Ordinary runs take
every ninth, and which ones depends on the commit: one commit is always judged alike, and few commits try them all.
"""

import os
import re
from collections.abc import Callable

import pytest

from hooks.prepare_release import git
from tests.rendering import ROOT, TEMPLATE, Project
from tests.sabotages import SABOTAGES, Sabotage
from tests.variants import ALL

IN_ORDINARY_RUNS = 9  # one in so many
PAGE = (TEMPLATE / "docs/security/controls.md").read_text()
CONTROLS = PAGE.partition("# Controls\n")[2].partition("\n## ")[0]
BROKEN = re.compile(r"^E +(?:NameError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError)", re.MULTILINE)

# Modules of the page that stop nothing by themselves.
NOTHING_TO_REMOVE = {
    "development.py": "tells a developer where the documents are",
    "project.py": "names the service and its version",
}


def _chosen() -> list[Sabotage]:
    if os.environ.get("EVERY_VARIANT"):
        return SABOTAGES
    first = _number_of_this_commit() % IN_ORDINARY_RUNS
    return SABOTAGES[first::IN_ORDINARY_RUNS]


def _number_of_this_commit() -> int:
    return int(git(ROOT, "rev-parse", "HEAD").strip()[:8], 16)


def _label(sabotage: Sabotage) -> str:
    return f"{sabotage.module}: {' '.join(sabotage.old.split())[:50]}"


def _path(module: str) -> str:
    return "app/database.py" if module == "database" else f"app/security/{module}.py"


@pytest.mark.parametrize("sabotage", _chosen(), ids=_label)
def test_a_project_without_this_protection_fails_its_own_tests(
    project: Callable[..., Project], sabotage: Sabotage
) -> None:
    sabotaged = project(**ALL)
    sabotaged.replace(_path(sabotage.module), sabotage.old, sabotage.new)

    # In the order of the file, so that the same test fails first every time.
    command = ["python", "-m", "pytest", "-xq", "-p", "no:randomly", "--tb=short"]
    done = sabotaged.run(*command, f"tests/security/{sabotage.test}.py")

    assert done.returncode == 1, done.stdout
    assert re.search(r"^1 failed", done.stdout.splitlines()[-1]), done.stdout
    assert not BROKEN.search(done.stdout), done.stdout


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_label)
def test_what_is_sabotaged_stands_in_the_template_once(sabotage: Sabotage) -> None:
    text = (TEMPLATE / _path(sabotage.module)).read_text()

    assert text.count(sabotage.old) == 1
    assert (TEMPLATE / f"tests/security/{sabotage.test}.py").is_file()


def _rows() -> list[tuple[str, set[str], set[str]]]:
    """What each control stops, its modules and its tests."""
    cells = [line.strip(" |").split(" | ") for line in CONTROLS.splitlines() if line.startswith("| ")][1:]
    return [
        (row[0], set(re.findall(r"`(?:app/)?(\w+\.py)`", row[2])), set(re.findall(r"`(\w+)\.py`", row[3])))
        for row in cells
    ]


def test_every_module_that_protects_is_sabotaged() -> None:
    modules = {module for _, named, _ in _rows() for module in named}
    sabotaged = {f"{sabotage.module}.py" for sabotage in SABOTAGES}

    assert sabotaged == modules - NOTHING_TO_REMOVE.keys()


def test_every_control_is_sabotaged_and_found_by_one_of_its_own_tests() -> None:
    proved = {(f"{sabotage.module}.py", sabotage.test) for sabotage in SABOTAGES}

    without = [
        what for what, modules, tests in _rows() if modules and not any(m in modules and t in tests for m, t in proved)
    ]

    assert len(_rows()) > 40
    assert without == []
