"""Run `manage` in tests: `manage("doctor")` runs `manage doctor` in a project at `tmp_path`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from app.main import create_app
from app.security import cli
from app.security.cli import command_line
from app.security.core import settings

Manage = Callable[..., Result]


@pytest.fixture
def manage(environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Manage:
    """Type `manage …`, and these lines where it asks; `load` makes the app, where it is not yours."""
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "looking_only", False)

    def run(*arguments: str, load: Callable[[], FastAPI] = create_app, typed: str = "") -> Result:
        return CliRunner().invoke(command_line(load), arguments, input=typed)

    return run
