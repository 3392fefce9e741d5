"""Every event that the code writes has a test, shipped or laid over."""

import re
from pathlib import Path

from app.security.core.events import Event
from app.security.core.settings import ROOT


def test_every_event_that_is_written_has_a_test() -> None:
    written = re.findall(
        r"record(?:_change)?\((?:db, |\w+, |f\".*\", )?\s*Event\.([A-Z_]+)", _texts(ROOT / "app/security")
    )
    tests = _texts(ROOT / "tests/security")

    assert len(set(written)) >= 8
    assert [name for name in set(written) if f"Event.{name}" not in tests and f'"{Event[name]}"' not in tests] == []


def _texts(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.py"))
