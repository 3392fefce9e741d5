"""Every night another scanner, Wapiti, attacks a fresh project: started, called and judged as the ZAP job does it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rendering import Project, interpreter, outside
from tests.test_zap import VARIANTS, plant, scanned_by

# Its dependencies are older than everything here, so it has an environment of its own.
WAPITI = "wapiti3==3.2.3"
A_PAGE = """
        return HTMLResponse(f"<p>{word}</p>")
"""

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.nightly]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wapiti")
    places = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "programs")}
    command = ["uv", "tool", "install", "--quiet", "--python", interpreter("3.11"), WAPITI]
    done = subprocess.run(command, env=outside() | places, stdout=sys.stderr)
    assert done.returncode == 0
    return folder / "programs"


def test_it_finds_nothing_in_a_fresh_project(project: Callable[..., Project], programs: Path) -> None:
    code, printed = scanned_by("wapiti_scan.py", programs, project(**VARIANTS["all"]))

    assert code == 0, printed[-6000:]


def test_it_would_find_something(project: Callable[..., Project], programs: Path) -> None:
    service = plant(project(**VARIANTS["keys only"]), A_PAGE)

    code, printed = scanned_by("wapiti_scan.py", programs, service)

    assert code == 1
    assert "Reflected Cross Site Scripting at GET" in printed, printed[-6000:]
