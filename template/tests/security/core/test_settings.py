"""A weak setting fails the start: it is named, its value is not, and an unset environment is production."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.security.core import settings
from app.security.core.settings import SecretSettings, SecuritySettings, ServiceSettings, keys_for
from tests.security.fixtures import BASE_ENVIRONMENT, PRODUCTION_ENVIRONMENT, MakeClient

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


def test_a_safe_production_has_no_problem(environment: Environment) -> None:
    environment(**PRODUCTION_ENVIRONMENT)

    assert settings.problems() == []


def test_a_weak_setting_is_named_and_its_value_is_not(environment: Environment) -> None:
    others = {name: "" for variables in WEAK.values() for name in variables} | BASE_ENVIRONMENT | PRODUCTION_ENVIRONMENT
    for kind, variables in WEAK.items():
        environment(**others | variables)

        found = "\n".join(settings.problems())

        assert any(name in found for name in variables), kind
        hidden = [value for value in variables.values() if len(value) > 7 and value not in ("false", "true")]
        assert [value for value in hidden if value in found] == [], kind
        assert "hunter2" not in found, kind


def test_an_unset_environment_is_production(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(FASTAPI_ENV="")
    assert settings.in_production()

    monkeypatch.delenv("FASTAPI_ENV")
    assert settings.in_production()


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


def test_a_refused_secret_is_in_no_error() -> None:
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


@pytest.mark.slow
def test_a_running_service_reveals_no_secret(make_client: MakeClient, capfd: pytest.CaptureFixture[str]) -> None:
    client = make_client(SECRET_KEY=GOOD)

    told = client.get("/openapi.json").text + client.get("/docs").text + client.get("/nothing").text
    printed = capfd.readouterr()

    assert GOOD not in told + printed.out + printed.err
