"""The generated tests bite: without any one of the protections the generated suite turns red.

Each sabotage is a small edit of a generated project that has everything on; the named test file has to fail, and it has
to fail as a test: a project that no longer starts would turn anything red. A file that every project has must fail
without the tests of the template's own tier. A commit tests every sixteenth sabotage, the nightly run all of them.
"""

import re
from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest

from tests.nightly import rows, sample
from tests.rendering import OVERLAY, TEMPLATE, Project, lay_over
from tests.sabotages import SABOTAGES, Sabotage
from tests.variants import ALL

NOW = sample(SABOTAGES, one_in=16)
BROKEN = re.compile(r"^E +(?:NameError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError)", re.MULTILINE)


def _label(sabotage: Sabotage) -> str:
    return f"{sabotage.module}: {' '.join(sabotage.old.split())[:50]}"


def _path(module: str) -> str:
    return "app/database.py" if module == "database" else f"app/security/{module}.py"


@pytest.mark.parametrize("sabotage", rows(SABOTAGES, now=NOW), ids=_label)
def test_a_project_without_this_protection_fails_its_own_tests(
    project: Callable[..., Project], sabotage: Sabotage
) -> None:
    sabotaged = project(**ALL)
    sabotaged.replace(_path(sabotage.module), sabotage.old, sabotage.new)
    test = f"tests/security/{sabotage.test}.py"
    if not (TEMPLATE / test).is_file():
        lay_over(sabotaged)

    # In the order of the file, so that the same test fails first every time.
    done = sabotaged.run("python", "-m", "pytest", "-xq", "-m", "", "-p", "no:randomly", "--tb=short", test)

    assert done.returncode == 1, done.stdout
    assert re.search(r"^1 failed", done.stdout, re.MULTILINE), done.stdout
    assert not BROKEN.search(done.stdout), done.stdout


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_label)
def test_what_is_sabotaged_stands_in_the_template_once(sabotage: Sabotage) -> None:
    text = (TEMPLATE / _path(sabotage.module)).read_text()

    assert text.count(sabotage.old) == 1
    assert any((tree / f"tests/security/{sabotage.test}.py").is_file() for tree in (TEMPLATE, OVERLAY))


# Rows of controls.md whose protection is tested in this repository: by a proxy, with a Redis, and against the code.
TESTED_HERE = {"Web application firewall", "Redis outage", "Documentation"}


def test_every_protection_of_a_project_is_sabotaged_in_its_module_for_a_test_that_the_project_has() -> None:
    page = (TEMPLATE / "docs/security/controls.md").read_text()
    rows = [row.split("|") for row in page.partition("## Protections\n")[2].splitlines() if row.startswith("| **")]
    free = Counter((sabotage.module, sabotage.test) for sabotage in SABOTAGES)
    named = {row[1].split("**")[1]: [re.findall(r"`(?:app/)?([\w/]+)\.py`", cell) for cell in row[3:5]] for row in rows}
    without = set()
    for row, (modules, tests) in sorted(named.items(), key=lambda one: len([*product(*one[1])])):
        found = next((pair for pair in product(modules, tests) if free[pair]), None)  # one that no other row has taken
        free.subtract([found] if found else [])
        without |= set() if found else {row}

    assert without == TESTED_HERE


def _modules() -> set[str]:
    """Every module of a folder of `app/security`."""
    folder = TEMPLATE / "app/security"
    found = {str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.py")}
    return {module for module in found if not module.endswith("__init__")}


def test_every_module_and_every_folder_is_sabotaged() -> None:
    sabotaged = {sabotage.module for sabotage in SABOTAGES}
    folders = {path.parent.name for path in (TEMPLATE / "app/security").glob("*/*.py")}

    assert _modules() - sabotaged == set()
    assert folders - {module.partition("/")[0] for module in sabotaged} == set()
