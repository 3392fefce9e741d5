"""What a start in development says of conflicts."""

from pathlib import Path

import pytest

from app.security import conflicts
from app.security.operations import start_up
from tests.security.fixtures import MakeClient


@pytest.mark.parametrize(("production", "warnings"), [(False, 1), (True, 0)])
def test_a_start_in_development_names_conflicts(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    production: bool,
    warnings: int,
) -> None:
    (tmp_path / "notes.md").write_text("<<<<<<< before updating\n")
    monkeypatch.setattr(conflicts, "ROOT", tmp_path)
    start_up._conflicts.cache_clear()

    make_client(production=production)

    start_up._conflicts.cache_clear()
    found = [record for record in caplog.records if "notes.md, line 1: a conflict" in record.getMessage()]
    assert [record.levelname for record in found] == ["WARNING"] * warnings


def test_a_large_file_is_no_conflict(tmp_path: Path) -> None:
    data = tmp_path / "data.bin"
    data.write_bytes(b"<<<<<<< x\n" + bytes(conflicts.LARGEST))

    assert list(conflicts.conflicts([data])) == []
