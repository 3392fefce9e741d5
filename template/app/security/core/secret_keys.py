"""The root secret, its rotation, and one derived key for each purpose (ASVS 5.0 V11.2.2, V11.6.1, V13.3.1).

`SECRET_KEY` signs; it and `SECRET_KEY_FALLBACKS` verify. To rotate: put a new key first and the old one among the
fallbacks, deploy, and drop the old one an hour later.
"""

import base64
import binascii
import secrets
from functools import cache
from typing import Annotated

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import AfterValidator, Field, SecretStr

from app.security.core.settings import SecuritySettings

MINIMUM_BYTES = 32  # RFC 7518 section 3.2: at least the size of the hash
_PLACEHOLDERS = ("change", "placeholder", "example", "secret", "password", "default", "your-", "your_", "insecure")


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
        decoded = _base64url(text)
    if len(decoded) < MINIMUM_BYTES or len(set(decoded)) < MINIMUM_BYTES // 2:
        raise ValueError(f"must be at least {MINIMUM_BYTES} random bytes; make one with: uv run manage secrets new")
    return decoded


def _base64url(text: str) -> bytes:
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be hex or base64url; make one with: uv run manage secrets new") from None


def listed(value: SecretStr) -> list[str]:
    """The parts of a comma-separated secret."""
    return [text.strip() for text in value.get_secret_value().split(",") if text.strip()]


def _all_strong(value: SecretStr) -> SecretStr:
    if value.get_secret_value():
        for text in listed(value) or [""]:  # a comma alone is no secret
            decode_secret(text)
    return value


StrongSecrets = Annotated[SecretStr, AfterValidator(_all_strong)]
"""Secrets separated by commas, each of which is checked."""


class SecretSettings(SecuritySettings):
    secret_key: StrongSecrets = Field(description="make one with: uv run manage secrets new --write")
    secret_key_fallbacks: StrongSecrets = SecretStr("")  # newest first

    def roots(self) -> list[bytes]:
        """Every root secret, the signing one first."""
        return [decode_secret(text) for text in (*listed(self.secret_key), *listed(self.secret_key_fallbacks))]

    def weaknesses(self) -> list[str]:
        roots = self.roots()
        repeated = len(set(roots)) != len(roots)
        return ["SECRET_KEY_FALLBACKS: a secret stands there twice; remove one"] if repeated else []


@cache
def derive(root: bytes, purpose: str) -> bytes:
    """The 32-byte key for one purpose (HKDF-SHA-256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(root)


def keys_for(purpose: str) -> list[bytes]:
    """The 32-byte keys for one purpose, the current one first. Keys of two purposes have nothing in common."""
    return [derive(root, purpose) for root in SecretSettings.current().roots()]
