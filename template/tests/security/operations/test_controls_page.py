"""docs/security/controls.md tells the truth: each module, test, setting and number that it names is as it says."""

import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.security.core.events import Event
from app.security.core.settings import ROOT, SecuritySettings

SECURITY = ROOT / "app/security"
PAGE = (ROOT / "docs/security/controls.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.split(f"# {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip()[1:-1].split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def settings_of_ours() -> Iterator[tuple[str, FieldInfo]]:
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
        return "the answered ones"
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
    if isinstance(value, tuple):
        return ", ".join(f"{limit.attempts} in {limit.seconds} s" for limit in value)
    if isinstance(value, timedelta):
        number, unit = (value.days, "day") if value.days else (value.seconds // 60, "minute")
        assert value == timedelta(**{f"{unit}s": number})
        return f"{number} {unit}" + ("" if number == 1 else "s")
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_scan_stands_on_the_page_and_is_run_by_the_workflow() -> None:
    scripts = {path.name: path.read_text() for path in (ROOT / ".github/security").iterdir() if path.is_file()}
    workflow = (ROOT / ".github/workflows/security.yml").read_text()
    named = {name for _, _, commands, _ in rows("Scans") for name in code(commands)}
    run = {name for name in named if f"python .github/security/{name}" in workflow.replace("python3", "python")}

    assert named == scripts.keys()
    assert [name for name in named - run if not is_read_by(run, name, scripts)] == []


def is_read_by(run: set[str], name: str, scripts: dict[str, str]) -> bool:
    """Whether something that is run imports or opens this file, or imports what does."""
    used = rf"^(?:from|import) {Path(name).stem}\b|\b{re.escape(name)}\""
    readers = {reader for reader, text in scripts.items() if reader != name and re.search(used, text, re.MULTILINE)}
    return bool(readers & run) or any(is_read_by(run, reader, scripts) for reader in readers)


def test_every_setting_is_documented_with_its_default_and_its_bounds() -> None:
    documented = {code(name)[0]: (default.strip("`"), bounds) for name, default, bounds, *_ in rows("Settings")}
    ours = dict(settings_of_ours())

    assert documented.keys() == ours.keys()
    for name, field in ours.items():
        default, bounds = documented[name]
        assert (name, default) == (name, default_in_words(field))
        assert bounds_in_words(field) in (None, bounds), name


@pytest.mark.parametrize(("name", "value"), [row[:2] for row in rows("Fixed numbers")])
def test_every_fixed_number_is_what_the_code_says(name: str, value: str) -> None:
    assert in_words(number(code(name)[0])) == value


def test_every_event_stands_on_the_page() -> None:
    assert [code(name)[0] for name, _ in rows("Events")] == list(Event)
