"""The template lies in its folder as a project: parsed, linted and formatted without being rendered."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.rendering import LEFT_BY_RUNNING, ROOT, TEMPLATE

PYTHON = sorted(path for path in TEMPLATE.rglob("*.py") if LEFT_BY_RUNNING.isdisjoint(path.parts))
MODULES = {str(path.relative_to(TEMPLATE)): path for path in PYTHON}
BLOCK = re.compile(r"# \{%-?\s*(\w+)")

LONGEST_MODULE = 300
LONGEST_FUNCTION = 40
MOST_CONDITIONS = 16  # in one file: two a feature, and two where two features meet
LONGEST_TEST_MODULE = 300

# What is longer today, and by how much it may be: a number here only ever gets smaller.
LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def _blocks(path: Path) -> list[str]:
    """The Jinja words of a file in order: if, else, endif, for, endfor …"""
    return BLOCK.findall(path.read_text())


def _conditional() -> dict[str, list[str]]:
    return {name: words for name, path in MODULES.items() if "if" in (words := _blocks(path))}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_passes_with_the_settings_of_the_generated_project(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "template"], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", list(MODULES))
def test_every_python_file_parses(name: str) -> None:
    compile(MODULES[name].read_text(), name, "exec")


def test_data_files_parse() -> None:
    for path in TEMPLATE.rglob("*.toml"):
        tomllib.loads(path.read_text())
    for path in [*TEMPLATE.rglob("*.yml"), *TEMPLATE.rglob("*.yaml")]:
        assert list(yaml.safe_load_all(path.read_text())), path


def test_conditional_lines_stand_in_few_python_files() -> None:
    found = sorted(name for name in _conditional() if name.startswith("app/"))

    assert len(found) <= 4, found


def test_no_file_has_many_conditions() -> None:
    counts = {name: words.count("if") + words.count("elif") for name, words in _conditional().items()}

    assert {name: count for name, count in counts.items() if count > MOST_CONDITIONS} == {}


def _depth(words: list[str]) -> int:
    deepest = depth = 0
    for word in words:
        depth += {"if": 1, "for": 1, "endif": -1, "endfor": -1}.get(word, 0)
        deepest = max(deepest, depth)
    return deepest


def test_no_block_stands_inside_another() -> None:
    files = {name: _depth(_blocks(path)) for name, path in MODULES.items()}

    assert {name: depth for name, depth in files.items() if depth > 1} == {}


def test_conditions_stand_on_lines_of_their_own() -> None:
    lines = [line.strip() for path in PYTHON for line in path.read_text().splitlines() if "{%" in line]

    assert [line for line in lines if not re.fullmatch(r"# \{% .+ %\}", line) or line.count("{%") > 1] == []


@pytest.mark.parametrize("name", list(MODULES))
def test_imports_are_plain(name: str) -> None:
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "{" not in ast.unparse(node)


def test_no_import_sorter_moves_a_conditional_import() -> None:
    """Conditional import lines would be sorted differently before and after rendering."""
    for name in _conditional():
        inside = unsorted = False
        for line in MODULES[name].read_text().splitlines():
            unsorted = (unsorted or line == "# isort: off") and line != "# isort: on"
            inside = (inside or "# {% if" in line) and "# {% endif" not in line
            assert unsorted or not (inside and re.match(r"\s*(import|from) ", line)), f"{name}: {line}"


def _module_lengths() -> dict[str, int]:
    return {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}


def _budget(name: str) -> int:
    return LONGEST_TEST_MODULE if name.startswith("tests/") else LONGEST_MODULE


def test_modules_are_short() -> None:
    lengths = _module_lengths()

    assert {name: length for name, length in lengths.items() if length > LONG_MODULES.get(name, _budget(name))} == {}


class _FunctionLengths(ast.NodeVisitor):
    """The lines of every function; those of a function inside it count there alone."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        self._around: list[str] = []
        self._class = ""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._class, outer = f"{node.name}.", self._class
        self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        name = self._class + ".".join([*self._around[-1:], node.name])
        self.found[name] = self.found.get(name, 0) + lines
        if self._around:
            self.found[self._around[-1]] -= lines
        self._around.append(name)
        self.generic_visit(node)
        self._around.pop()

    visit_AsyncFunctionDef = visit_FunctionDef


def _function_lengths() -> dict[str, int]:
    found = {}
    for name, path in MODULES.items():
        visitor = _FunctionLengths()
        visitor.visit(ast.parse(path.read_text()))
        found |= {f"{name}::{function}": length for function, length in visitor.found.items()}
    return found


def test_functions_are_short() -> None:
    lengths = _function_lengths()

    assert {name: size for name, size in lengths.items() if size > LONG_FUNCTIONS.get(name, LONGEST_FUNCTION)} == {}


def test_exceptions_end_with_their_reason() -> None:
    modules, functions = _module_lengths(), _function_lengths()

    assert [name for name in LONG_MODULES if modules.get(name, 0) <= _budget(name)] == []
    assert [name for name in LONG_FUNCTIONS if functions.get(name, 0) <= LONGEST_FUNCTION] == []


def test_command_blocks_of_documents_hold_commands_alone() -> None:
    """A shell of Windows, and zsh without its option, take a comment for arguments."""
    text = "".join(path.read_text() for path in TEMPLATE.rglob("*.md"))
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("# {%")]

    assert lines
    assert [line for line in lines if "#" in line] == []
