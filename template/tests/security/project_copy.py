"""A copy of this project in another folder; its commands run as processes."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from app.security.core.settings import ROOT
from tests.security.fixtures import BASE_ENVIRONMENT


class Copy:
    """It has an empty SQLite database and a secret, and no other setting: production, where the app does not start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "scratch.sqlite3"
        self.variables = {"SECRET_KEY": BASE_ENVIRONMENT["SECRET_KEY"], "DATABASE_URL": f"sqlite:///{self.database}"}
        self.variables["ALLOW_SQLITE_IN_PRODUCTION"] = "true"
        for name in ("app", "migrations"):
            shutil.copytree(ROOT / name, folder / name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "migrations/versions").mkdir(exist_ok=True)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        known = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=known | self.variables,
            capture_output=True,
            text=True,
        )

    def migrate(self) -> None:
        result = self.run("app.manage", "migrate")
        assert result.returncode == 0, result.stderr

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement).fetchall()

    def tables(self) -> set[object]:
        return {name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
