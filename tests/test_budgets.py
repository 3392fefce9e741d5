"""How much a generated project makes its owner read. A raise needs a decision record."""

from pathlib import Path

import pytest

from tests.rendering import Project, Template
from tests.variants import ALL, SMALLEST, Answers

# Lines of Python below a folder: of which project, how many at most.
LINES: dict[str, tuple[str, Answers, int]] = {
    "everything on": ("app/security", ALL, 8_000),
    "logins alone": ("app/security", SMALLEST["logins alone"], 5_900),
    "keys alone": ("app/security", SMALLEST["keys alone"], 4_565),
    "scans": (".github/security", ALL, 900),
    "tests": ("tests", ALL, 6_205),
}
FILES, FOLDERS, FILES_IN_A_FOLDER = 70, 10, 8


def _modules(project: Project, folder: str) -> list[Path]:
    return sorted(project.file(folder).rglob("*.py"))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("part", LINES)
def test_it_is_short(template: Template, part: str) -> None:
    folder, answers, most = LINES[part]

    lines = sum(map(_lines, _modules(template.render(**answers), folder)))

    assert lines <= most


def test_it_is_made_of_few_files(template: Template) -> None:
    modules = _modules(template.render(**ALL), "app/security")
    folders = {path.parent for path in modules} - {template.render(**ALL).file("app/security")}

    crowded = {folder.name for folder in folders if len(list(folder.glob("*.py"))) > FILES_IN_A_FOLDER}

    assert len(modules) <= FILES
    assert len(folders) <= FOLDERS
    assert crowded == set()
