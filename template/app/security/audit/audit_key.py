"""The key of the audit chain: a secret of its own, since rows outlive the rotations of every other (ASVS V16.4.2)."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from pydantic import SecretStr, ValidationError, field_validator

from app.security.core.secret_keys import SecretSettings, decode_secret, derive, listed
from app.security.core.settings import SecuritySettings, in_production, read


class AuditSettings(SecuritySettings):
    audit_key: SecretStr = SecretStr("")  # empty: derived from SECRET_KEY, which production refuses
    audit_key_fallbacks: SecretStr = SecretStr("")  # comma separated; rows that they wrote still verify

    @field_validator("audit_key")
    @classmethod
    def _strong(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            decode_secret(value.get_secret_value())
        return value

    @field_validator("audit_key_fallbacks")
    @classmethod
    def _strong_fallbacks(cls, value: SecretStr) -> SecretStr:
        for text in listed(value):
            decode_secret(text)
        return value

    def roots(self) -> list[bytes]:
        """Every secret of the chain, the one that writes first."""
        texts = filter(None, [self.audit_key.get_secret_value(), *listed(self.audit_key_fallbacks)])
        return [decode_secret(text) for text in texts]

    def weaknesses(self) -> list[str]:
        if not self.audit_key.get_secret_value():
            return ["AUDIT_KEY: is missing; make one with: uv run manage secrets new"]
        roots = self.roots()
        found = [] if len(set(roots)) == len(roots) else ["AUDIT_KEY_FALLBACKS: names a secret twice"]
        try:
            shared = not set(roots).isdisjoint(cast(SecretSettings, read(SecretSettings)).roots())
        except ValidationError:  # SECRET_KEY is named for that already
            shared = False
        another = "AUDIT_KEY: is a SECRET_KEY too; make another: uv run manage secrets new"
        return [*found, *([another] if shared else [])]


@dataclass(frozen=True, slots=True)
class AuditKey:
    id: str  # 8 hex digits, to find it by in a row
    secret: bytes
    age: int  # 0 for the one that writes; of two others the older one has more

    def sign(self, *parts: bytes) -> bytes:
        return hmac.digest(self.secret, b"".join(parts), "sha256")


def audit_keys() -> dict[str, AuditKey]:
    """Every key by its id, the one that writes first, then from the newest to the oldest.

    The ones derived from SECRET_KEY are the oldest: they wrote the rows of the time before there was an AUDIT_KEY. In
    production they verify nothing beside it, or whoever learns SECRET_KEY could sign the whole chain again.
    """
    return _keys(AuditSettings.current(), SecretSettings.current(), in_production())


@lru_cache(maxsize=4)
def _keys(settings: AuditSettings, secrets: SecretSettings, production: bool) -> dict[str, AuditKey]:
    alone = production and settings.audit_key.get_secret_value()
    roots = settings.roots() if alone else [*settings.roots(), *secrets.roots()]
    derived = dict.fromkeys(derive(root, "audit") for root in roots)
    keys = [AuditKey(hashlib.sha256(secret).hexdigest()[:8], secret, age) for age, secret in enumerate(derived)]
    return {key.id: key for key in keys}


def current_key() -> AuditKey:
    return next(iter(audit_keys().values()))
