"""What a start in development and `manage doctor` say of conflicts, of `.env` and of a missing proxy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.security import conflicts
from app.security.core import settings
from app.security.operations import start_up
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient
from tests.security.terminal import Manage


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


def test_doctor_names_a_misspelt_setting_in_env(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env = tmp_path / ".env"
    env.write_text("MAX_BODY_BYTE=1\ntrusted_proxies=127.0.0.1\nMY_OWN=x\nexport TRUSTED_PROXY=\n")
    env.chmod(0o600)
    monkeypatch.setattr(settings, "env_file", env)

    printed = manage("doctor").stdout

    assert [line for line in printed.splitlines() if "is no setting" in line] == [
        "Note: MAX_BODY_BYTE in .env is no setting: write MAX_BODY_BYTES",
        "Note: TRUSTED_PROXY in .env is no setting: write TRUSTED_PROXIES",
    ]


def test_doctor_names_missing_proxies_in_production(manage: Manage, environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    missing = manage("doctor").stdout
    environment(TRUSTED_PROXIES="127.0.0.1")

    assert "Note: TRUSTED_PROXIES is empty" in missing
    assert "TRUSTED_PROXIES" not in manage("doctor").stdout
