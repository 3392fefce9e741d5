"""Where a secret may come from besides the environment, and addresses that would check nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.database import DatabaseSettings
from app.security.core import settings
from app.security.core.settings import SecretSettings

FIRST, SECOND = bytes(range(32)).hex(), bytes(range(32, 64)).hex()


def test_a_secret_that_the_platform_mounts_is_read_and_a_named_file_wins(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret_key").write_text(f"{FIRST}\n")
    (tmp_path / "named").write_text(SECOND)
    monkeypatch.setattr(settings, "SECRETS", tmp_path)
    environment()
    monkeypatch.delenv("SECRET_KEY")

    mounted = SecretSettings.current().secret_key.get_secret_value()
    environment(SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / "named"))
    named = SecretSettings.current().secret_key.get_secret_value()

    assert (mounted, named) == (FIRST, SECOND)


@pytest.mark.parametrize("content", ["", "\n", " \t\n"])
def test_an_empty_secret_file_is_no_secret(
    environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    (tmp_path / "named").write_text(content)
    environment(SECRET_KEY_FILE=str(tmp_path / "named"))
    monkeypatch.delenv("SECRET_KEY")

    assert "SECRET_KEY: is missing; make one with: uv run manage secrets new --write" in settings.problems()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "prefer", "disable"])
def test_a_tls_mode_that_would_be_ignored_is_refused(
    environment: Callable[..., None], capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    environment(DATABASE_URL=f"postgresql://u@127.0.0.1/x?sslmode={mode}")

    with pytest.raises(SystemExit):
        DatabaseSettings.current()

    assert "DATABASE_URL: sslmode is verify-full" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite://"])
def test_a_database_in_memory_is_refused_where_it_is_read(environment: Callable[..., None], url: str) -> None:
    environment(DATABASE_URL=url)

    assert settings.problems() == ["DATABASE_URL: write sqlite:///path or postgresql://user:password@host/name"]
