"""Settings that fail at start-up when they are weak, and the secrets among them (ASVS 5.0 V11.2.2, V11.6.1, V13.3.1).

Each protection declares its own `SecuritySettings`; `problems()` reads all of them, so that a failed start lists
everything that is wrong. No value is printed: a refused value may be a secret.

One root secret has one derived key for each purpose. `SECRET_KEY` signs; it and `SECRET_KEY_FALLBACKS` verify.
"""

import base64
import contextlib
import multiprocessing
import os
import secrets
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, cast
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

NAME = "{{= project_name }}"
SLUG = "{{= slug }}"  # in tokens and keys; it stays as it is when the project is renamed
ROOT = Path(__file__).resolve().parents[3]
SECRETS = Path("/run/secrets")  # where container platforms put them
CONFIGURATION_ERROR = 78  # EX_CONFIG of sysexits.h
WORKER_FAILED = 3  # of uvicorn and gunicorn, which restart a worker for ever after any other code
MINIMUM_BYTES = 32  # RFC 7518 section 3.2: at least the size of the hash
_PLACEHOLDERS = ("change", "placeholder", "example", "secret", "password", "default", "your-", "your_", "insecure")


@cache
def version() -> str:
    """The version in pyproject.toml."""
    with contextlib.suppress(OSError, KeyError):
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    return "0"


def split_commas(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(split_commas)]
"""A list written as `a, b`. The empty list always allows nothing."""


def refuse(reasons: list[str]) -> NoReturn:
    """Stop the process: one line a reason on stderr, exit code 78, or 3 in the worker of a server (SystemExit)."""
    chosen = os.environ.get("FASTAPI_ENV") or "production (FASTAPI_ENV is not set; on your machine: uv run fastapi dev)"
    lines = [f"This service refuses to start in {chosen}:", *(f"  - {reason}" for reason in reasons)]
    sys.stderr.write("\n".join(lines) + "\n")
    is_worker = multiprocessing.parent_process() is not None or "gunicorn" in sys.argv[0]
    raise SystemExit(WORKER_FAILED if is_worker else CONFIGURATION_ERROR)


def environment() -> str:
    """The environment, read from the process alone: unset means production. Raises: SystemExit 78."""
    chosen = os.environ.get("FASTAPI_ENV") or "production"
    if chosen not in ("production", "development"):
        refuse(['FASTAPI_ENV: leave it unset for production, or set it to "development"'])
    return chosen


def in_production() -> bool:
    return environment() == "production"


def _secret_files(names: Iterable[str]) -> dict[str, Any]:
    """What `<NAME>_FILE` and `/run/secrets/<name>` hold. An empty file is no value, as an empty variable is none."""
    found = {}
    for name in names:
        named = os.environ.get(f"{name.upper()}_FILE")
        path = Path(named or SECRETS / name.lower())
        if named or path.is_file():
            try:
                text = path.read_text().strip()
            except (OSError, UnicodeDecodeError):
                refuse([f"{name.upper()}_FILE: this file cannot be read"])
            if text:
                found[name] = text
    return found


class SecuritySettings(BaseSettings):
    """The base of every settings class: process environment first, then secret files, then `.env`.

    Read them with `YourSettings.current()`; an instance made directly ignores `.env`.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True, allow_inf_nan=False
    )

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # pydantic passes them by name
        cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = InitSettingsSource(settings_cls, _secret_files(settings_cls.model_fields))
        return sources["init_settings"], sources["env_settings"], files, sources["dotenv_settings"]

    @classmethod
    def current(cls) -> Self:
        """These settings; read once, until `forget()`. Raises: SystemExit 78."""
        try:
            return cast(Self, read(cls))
        except ValidationError as error:
            refuse(_explain(cls, error))

    def weaknesses(self) -> list[str]:
        """What fails the start in production, as "NAME: what to do" without any value."""
        return []


env_file: Path | None = ROOT / ".env"
"""Tests set it to None, so that a developer's `.env` changes no result."""

looking_only = False
"""True in `manage routes` and `manage doctor`, which build the app despite weak settings and never serve it."""


@cache
def read(settings: type[SecuritySettings]) -> SecuritySettings:
    """These settings, read once. Raises: ValidationError."""
    return settings(_env_file=env_file)


def forget() -> None:
    """Read all settings again at their next use (a test changed the environment)."""
    read.cache_clear()
    keys_for.cache_clear()


def _explain(cls: type[SecuritySettings], error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            reason = "; ".join(filter(None, ["is missing", cls.model_fields[name].description]))
        lines.append(f"{name.upper() or 'settings'}: {reason}")
    return lines


def _classes(base: type[SecuritySettings] = SecuritySettings) -> list[type[SecuritySettings]]:
    return [cls for sub in base.__subclasses__() for cls in (sub, *_classes(sub))]


def problems() -> list[str]:
    """Everything wrong with every settings class, your own included; in production also what is weak."""
    found: list[str] = []
    for cls in _classes():
        try:
            settings = read(cls)
        except ValidationError as error:
            found += _explain(cls, error)
        else:
            found += settings.weaknesses() if in_production() else []
    return list(dict.fromkeys(found))


class ServiceSettings(SecuritySettings):
    """Debug mode, the public address of the service, and how it ends."""

    debug: bool = False
    public_base_url: str = "http://localhost:8000"
    shutdown_drain_seconds: float = Field(5, ge=0, le=300)  # not ready, and still serving

    @field_validator("public_base_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        odd = parts.query or parts.fragment or parts.username is not None or value.split() != [value]
        if parts.scheme not in ("http", "https") or not parts.hostname or odd:
            raise ValueError("write the service's public address, such as https://api.example.com")
        return value.rstrip("/")

    def weaknesses(self) -> list[str]:
        found = ["DEBUG: must be off in production"] if self.debug else []
        if "public_base_url" not in self.model_fields_set:
            found.append("PUBLIC_BASE_URL: is missing; it is the address of this service")
        elif not self.public_base_url.startswith("https://"):
            found.append("PUBLIC_BASE_URL: must start with https://")
        return found


def new_secret() -> str:
    """A new random secret: 64 bytes, as hex."""
    return secrets.token_hex(64)


def decode_secret(text: str) -> bytes:
    """The bytes of a secret written as hex or base64url. Raises: ValueError, which never quotes the text."""
    if any(word in text.lower() for word in _PLACEHOLDERS):
        raise ValueError("is a placeholder; make a real one with: uv run manage secrets new")
    try:
        decoded = bytes.fromhex(text)
    except ValueError:
        bare = text.rstrip("=")
        try:
            decoded = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise ValueError("must be hex or base64url; make one with: uv run manage secrets new") from None
    if len(decoded) < MINIMUM_BYTES or len(set(decoded)) < MINIMUM_BYTES // 2:
        raise ValueError(f"must be at least {MINIMUM_BYTES} random bytes; make one with: uv run manage secrets new")
    return decoded


def decode_secrets(*values: SecretStr) -> list[bytes]:
    """The bytes of comma-separated secrets. Raises: ValueError, which never quotes them."""
    texts = [text.strip() for value in values for text in value.get_secret_value().split(",")]
    return [decode_secret(text) for text in texts if text]


def _are_strong(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and not decode_secrets(value):
        raise ValueError("is empty; make one with: uv run manage secrets new")
    return value


StrongSecrets = Annotated[SecretStr, AfterValidator(_are_strong)]
"""Secrets separated by commas, newest first; each of them is checked."""


class SecretSettings(SecuritySettings):
    secret_key: StrongSecrets = Field(description="make one with: uv run manage secrets new --write")
    secret_key_fallbacks: StrongSecrets = SecretStr("")

    def roots(self) -> list[bytes]:
        """Every root secret, the signing one first."""
        return decode_secrets(self.secret_key, self.secret_key_fallbacks)

    def weaknesses(self) -> list[str]:
        roots = self.roots()
        repeated = len(set(roots)) != len(roots)
        return ["SECRET_KEY_FALLBACKS: a secret stands there twice; remove one"] if repeated else []


@cache
def derive(root: bytes, purpose: str) -> bytes:
    """The 32-byte key for one purpose (HKDF-SHA-256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(root)


@cache
def keys_for(purpose: str) -> tuple[bytes, ...]:
    """The 32-byte keys for one purpose, the current one first. Keys of two purposes have nothing in common."""
    return tuple(derive(root, purpose) for root in SecretSettings.current().roots())
