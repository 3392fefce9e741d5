"""docs/security is compared with the code: modules, tests, scans, settings, numbers and events."""

import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.security.access.identity import PROBLEM_TYPES
from app.security.core.events import Event
from app.security.core.settings import ROOT, SecuritySettings

SECURITY = ROOT / "app/security"
DOCS = ROOT / "docs/security"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = (DOCS / page).read_text().split(f"# {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip()[1:-1].split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def requirements(source: str) -> Iterator[tuple[int, int, int]]:
    """Each ASVS requirement of a cell, those of a range too: V9.2.1 to V9.2.4."""
    for chapter, section, first, last in re.findall(r"V(\d+)\.(\d+)\.(\d+)(?: to V\d+\.\d+\.(\d+))?", source):
        yield from ((int(chapter), int(section), number) for number in range(int(first), int(last or first) + 1))


def settings_of_the_template() -> Iterator[tuple[str, FieldInfo]]:
    for module in SECURITY.rglob("*.py"):
        importlib.import_module(".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for cls in SecuritySettings.__subclasses__():
        if cls.__module__.startswith(("app.security.", "app.database")):
            yield from ((name.upper(), field) for name, field in cls.model_fields.items())


def default_in_words(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if str(value).startswith("sqlite:"):
        return "SQLite beside the code"
    if value and isinstance(value, list):
        return "the answered ones" if str(value[0]).startswith("http") else "the private networks"
    words: list[tuple[object, str]] = [(PydanticUndefined, "none"), (None, "the same"), ("", "empty"), ([], "empty")]
    return next((word for meant, word in [*words, (False, "off")] if value is meant or value == meant), str(value))


def bounds_in_words(field: FieldInfo) -> str | None:
    found = {type(item).__name__: getattr(item, type(item).__name__.lower(), None) for item in field.metadata}
    if {"Ge", "Le"} <= found.keys():
        return f"{found['Ge']} to {found['Le']}"
    signs = {"Ge": "≥", "Gt": ">", "Le": "≤"}
    return next((f"{sign} {found[kind]}" for kind, sign in signs.items() if kind in found), None)


def number(name: str) -> object:
    """The value behind `module.NAME` or `module.NAME["key"]`."""
    found = re.fullmatch(r"([\w.]+)\.(\w+)(?:\[\"(\w+)\"\])?", name)
    assert found, name
    value = getattr(importlib.import_module(f"app.security.{found[1]}"), found[2])
    return value[found[3]] if found[3] else value


def in_words(value: object) -> str:
    if hasattr(value, "attempts"):
        return f"{value.attempts} in {value.seconds} s"
    if isinstance(value, tuple):
        return ", ".join(map(in_words, value))
    if isinstance(value, timedelta):
        number, unit = (value.days, "day") if value.days else (value.seconds // 60, "minute")
        assert value == timedelta(**{f"{unit}s": number})
        return f"{number} {unit}" + ("" if number == 1 else "s")
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_named_module_and_test_exists() -> None:
    for control, _, modules, tests in rows("controls.md", "Protections"):
        named = [ROOT / name if "/" in name and (ROOT / name).exists() else SECURITY / name for name in code(modules)]
        named += [ROOT / "tests/security" / name for name in code(tests)]
        assert [path for path in named if not path.exists()] == [], control


def test_the_summary_counts_the_requirements_of_the_tables() -> None:
    named = {
        one for table in ("Protections", "Scans") for row in rows("controls.md", table) for one in requirements(row[1])
    }
    counted = [int(count) for _, count, *_ in rows("controls.md", "Summary")]
    found = [sum(chapter == place for chapter, *_ in named) for place in range(1, 18)]

    # The numbers are those of a project with every feature.
    assert all(count <= documented for count, documented in zip(found, counted, strict=True)), found


def test_every_scan_is_documented_and_run_by_the_workflow() -> None:
    scripts = {path.name: path.read_text() for path in (ROOT / ".github/security").iterdir() if path.is_file()}
    workflow = (ROOT / ".github/workflows/security.yml").read_text()
    named = {name for _, _, commands, _ in rows("controls.md", "Scans") for name in code(commands)}
    run = {name for name in named if f"python .github/security/{name}" in workflow.replace("python3", "python")}

    assert named == scripts.keys()
    run.add("check_change.py")  # before a commit: later there is nothing to compare
    assert [name for name in named - run if not is_read_by(run, name, scripts)] == []


def is_read_by(run: set[str], name: str, scripts: dict[str, str]) -> bool:
    """Whether a script that is run imports or opens this file, or imports one that does."""
    used = rf"^\s*(?:from|import) {Path(name).stem}\b|\b{Path(name).stem}:app\b|\b{re.escape(name)}\""
    readers = {reader for reader, text in scripts.items() if reader != name and re.search(used, text, re.MULTILINE)}
    return bool(readers & run) or any(is_read_by(run, reader, scripts) for reader in readers)


def test_every_setting_is_documented_with_its_default_and_its_bounds() -> None:
    documented = {
        code(name)[0]: (default.strip("`"), bounds) for name, default, bounds, *_ in rows("settings.md", "Settings")
    }
    ours = dict(settings_of_the_template())

    assert documented.keys() == ours.keys()
    for name, field in ours.items():
        default, bounds = documented[name]
        assert (name, default) == (name, default_in_words(field))
        assert bounds_in_words(field) in (None, bounds), name


def test_every_setting_is_in_the_example_of_env() -> None:
    named = re.findall(r"^# ([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert sorted(named) == sorted(dict(settings_of_the_template()))


@pytest.mark.parametrize(("name", "value"), [row[:2] for row in rows("settings.md", "Fixed numbers")])
def test_every_fixed_number_is_that_of_the_code(name: str, value: str) -> None:
    assert in_words(number(code(name)[0])) == value


def test_every_event_is_documented() -> None:
    assert [code(name)[0] for name, _ in rows("events.md", "Events")] == list(Event)


def test_every_problem_type_is_documented() -> None:
    raised = re.findall(r'Problem\(\d+, "([a-z-]+)"', "".join(path.read_text() for path in SECURITY.rglob("*.py")))

    documented = {name for cell, *_ in rows("operations.md", "Refusals") for name in code(cell)}

    assert documented == {"about:blank", *PROBLEM_TYPES.values(), *raised}
