"""A weak setting stops the start: it is named, its value is not, and an unset environment is production."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.security.core import settings
from app.security.core.secret_keys import SecretSettings, keys_for
from app.security.core.settings import ROOT, SecuritySettings, ServiceSettings
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient

Environment = Callable[..., None]
GOOD = secrets.token_hex(32)

WEAK = {
    "no secret": {"SECRET_KEY": ""},
    "a short secret": {"SECRET_KEY": secrets.token_hex(31)},
    "a passphrase": {"SECRET_KEY": "a passphrase of more than thirty-two bytes, and no random bytes"},
    "a placeholder": {"SECRET_KEY": f"changeme{GOOD}"},
    "one byte again and again": {"SECRET_KEY": "ab" * 40},
    "a weak fallback": {"SECRET_KEY_FALLBACKS": secrets.token_hex(8)},
    "a secret twice": {"SECRET_KEY": GOOD, "SECRET_KEY_FALLBACKS": GOOD},
    "debug": {"DEBUG": "true"},
    "no truth": {"DEBUG": "perhaps-debug"},
    "no public address": {"PUBLIC_BASE_URL": ""},
    "plain http": {"PUBLIC_BASE_URL": "http://api.example.com"},
    "no address": {"PUBLIC_BASE_URL": "service.example.net"},
    "an address with a user": {"PUBLIC_BASE_URL": "https://u:hunter2@api.example.com"},
    "an address with a space": {"PUBLIC_BASE_URL": "https://api.example.com/a b"},
    "no host": {"TRUSTED_HOSTS": ""},
    "every host": {"TRUSTED_HOSTS": "*"},
    "a wildcard host": {"TRUSTED_HOSTS": "*.example.com"},
    "a host with a port": {"TRUSTED_HOSTS": "api.example.com:8443"},
    "every proxy": {"TRUSTED_PROXIES": "*"},
    "every address a proxy": {"TRUSTED_PROXIES": "0.0.0.0/0"},
    "half of all addresses a proxy": {"TRUSTED_PROXIES": "0.0.0.0/1, 128.0.0.0/1"},
    "a proxy by name": {"TRUSTED_PROXIES": "proxy.example.com"},
    "SQLite": {"ALLOW_SQLITE_IN_PRODUCTION": "false", "DATABASE_URL": "sqlite:///here.sqlite3"},
    "a database without TLS": {"DATABASE_URL": "postgresql://u:hunter2@db.example.com/x"},
    "TLS that checks nothing": {"DATABASE_URL": "postgresql://u:hunter2@db.example.com/x?sslmode=require"},
    "migrations without TLS": {"MIGRATION_DATABASE_URL": "postgresql://u:hunter2@db.example.com/x"},
    "a second host": {"DATABASE_URL": "postgresql://u:hunter2@localhost/x?host=db.example.com"},
    "a second port": {"DATABASE_URL": "postgresql://u:hunter2@localhost/x?port=5433"},
    "no file of certificates": {
        "DATABASE_URL": "postgresql://u:hunter2@db.example.com/x?sslmode=verify-full&sslrootcert=/no/such/hunter2"
    },
    "a file of no certificate": {
        "MIGRATION_DATABASE_URL": f"postgresql://u@db.example.com/x?sslmode=verify-full&sslrootcert={__file__}"
    },
    "two files of certificates": {
        "DATABASE_URL": "postgresql://u@db.example.com/x?sslmode=verify-full&sslrootcert=a&sslrootcert=b"
    },
    "another database": {"DATABASE_URL": "mysql://u:hunter2@localhost/x"},
    "a long cache": {"AUTH_CACHE_SECONDS": "31"},
    "no time at which an answer is late": {"RESPONSE_SECONDS": "inf"},
    "no number": {"BODY_SECONDS": "nan"},
}
weak = pytest.mark.parametrize("variables", WEAK.values(), ids=WEAK.keys())


def test_a_safe_production_has_no_problem(environment: Environment) -> None:
    environment(**PRODUCTION_ENVIRONMENT)

    assert settings.problems() == []


@weak
def test_a_weak_setting_is_named_and_its_value_is_not(environment: Environment, variables: dict[str, str]) -> None:
    environment(**PRODUCTION_ENVIRONMENT | variables)

    found = "\n".join(settings.problems())

    assert any(name in found for name in variables)
    hidden = [value for value in variables.values() if len(value) > 7 and value not in ("false", "true")]
    assert [value for value in hidden if value in found] == []
    assert "hunter2" not in found


def start(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name not in ("FASTAPI_ENV", "SECRET_KEY")}
    command = [
        sys.executable,
        "-c",
        "from app.security.core import settings; settings.env_file = None; import app.main",
    ]
    return subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True)


def test_a_refused_start_lists_everything_and_exits_with_78() -> None:
    done = start(SECRET_KEY="too-short-hunter2", DATABASE_URL="postgresql://u:hunter2@db.example.com/x", DEBUG="true")

    assert done.returncode == 78
    for name in ("SECRET_KEY", "DATABASE_URL", "DEBUG", "PUBLIC_BASE_URL", "TRUSTED_HOSTS"):
        assert done.stderr.count(f"- {name}:") == 1
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unset", [{}, {"FASTAPI_ENV": ""}])
def test_an_unset_environment_is_production(unset: dict[str, str]) -> None:
    done = start(SECRET_KEY=GOOD, **unset)

    assert done.returncode == 78
    assert "TRUSTED_HOSTS" in done.stderr


def test_there_is_no_third_environment() -> None:
    done = start(SECRET_KEY=GOOD, FASTAPI_ENV="staging")

    assert done.returncode == 78
    assert "FASTAPI_ENV" in done.stderr


def test_development_starts_with_a_secret_alone() -> None:
    assert start(SECRET_KEY=GOOD, FASTAPI_ENV="development").returncode == 0


def test_a_fresh_clone_is_told_how_to_get_a_secret() -> None:
    done = start(FASTAPI_ENV="development")

    assert done.returncode == 78
    assert "manage secrets new --write" in done.stderr


def test_a_secret_may_come_from_a_file(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{GOOD}\n")
    environment(SECRET_KEY_FILE=str(tmp_path / "key"))
    monkeypatch.delenv("SECRET_KEY")

    assert SecretSettings.current().secret_key.get_secret_value() == GOOD


def test_the_process_wins_over_the_env_file(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PUBLIC_BASE_URL=https://file.example.com\n")
    monkeypatch.setattr(settings, "env_file", tmp_path / ".env")

    environment()
    assert ServiceSettings.current().public_base_url == "https://file.example.com"
    environment(PUBLIC_BASE_URL="https://process.example.com")
    assert ServiceSettings.current().public_base_url == "https://process.example.com"


def test_a_secret_is_in_no_representation(environment: Environment) -> None:
    environment(SECRET_KEY=GOOD)
    current = SecretSettings.current()

    assert GOOD not in repr(current) + str(current) + current.model_dump_json()


def test_a_secret_that_is_refused_is_in_no_error() -> None:
    with pytest.raises(ValidationError) as refused:
        SecretSettings(secret_key=GOOD[:20])  # type: ignore[arg-type]

    assert GOOD[:20] not in str(refused.value) + repr(refused.value)


def test_each_purpose_has_a_key_of_its_own(environment: Environment) -> None:
    other = secrets.token_hex(32)
    environment(SECRET_KEY=GOOD, SECRET_KEY_FALLBACKS=other)
    both = keys_for("jwt")

    environment(SECRET_KEY=other, SECRET_KEY_FALLBACKS="")

    assert keys_for("jwt") == both[1:]
    assert len({*both, *keys_for("throttle"), bytes.fromhex(GOOD)}) == 4


def test_your_own_settings_are_checked_with_ours(environment: Environment) -> None:
    class Yours(SecuritySettings):
        your_number: int = 0

    environment(YOUR_NUMBER="hunter2")
    found = settings.problems()

    assert [problem for problem in found if problem.startswith("YOUR_NUMBER: ")]
    assert "hunter2" not in "".join(found)


def test_no_secret_is_told_by_a_running_service(make_client: MakeClient, capfd: pytest.CaptureFixture[str]) -> None:
    client = make_client(SECRET_KEY=GOOD)

    told = client.get("/openapi.json").text + client.get("/docs").text + client.get("/nothing").text
    printed = capfd.readouterr()

    assert GOOD not in told + printed.out + printed.err
