"""Every number of authentication in one place: settings first, then the limits of the login throttle.

A setting is read from the environment under its own name in capitals. Its bounds are the weakest values that the
sources allow; a value outside fails at start-up.
"""

from datetime import timedelta
from typing import Literal, NamedTuple

from pydantic import Field

from app.security.core.settings import SecuritySettings


class PasswordSettings(SecuritySettings):
    """Argon2id costs (the floor is the OWASP minimum) and the minimum length (NIST SP 800-63B-4 section 3.1.1.2)."""

    argon2_memory_kib: int = Field(19456, ge=19456)
    argon2_iterations: int = Field(2, ge=2)
    argon2_parallelism: int = Field(1, ge=1)
    allow_8_char_passwords: bool = False

    @property
    def minimum_length(self) -> int:
        return 8 if self.allow_8_char_passwords else 15


class TokenSettings(SecuritySettings):
    access_token_minutes: int = Field(10, ge=1, le=15)

    @property
    def lifetime_seconds(self) -> int:
        return self.access_token_minutes * 60


class SessionSettings(SecuritySettings):
    session_idle_days: int = Field(7, ge=1, le=7)
    session_days: int = Field(30, ge=1, le=30)
    sessions_per_account: int = Field(10, ge=1, le=100)
    refresh_reuse_leeway_seconds: int = Field(10, ge=0, le=60)


class Limit(NamedTuple):
    """At most `attempts` in `seconds`; with `after_failures`, only once so many attempts in a row have failed."""

    attempts: int
    seconds: int
    after_failures: int = 0


MINUTE, HOUR = 60, 3600
Purpose = Literal["token", "refresh", "password"]

# Per source (an IPv4 address or an IPv6 /64), over all accounts. Successful attempts count too.
SOURCE_LIMITS: dict[Purpose, tuple[Limit, ...]] = {
    "token": (Limit(10, MINUTE), Limit(100, HOUR)),
    "refresh": (Limit(30, MINUTE),),
    "password": (Limit(10, MINUTE),),
}
SITE_FACTOR = 4  # an IPv6 /48 may hold many customers, so it is allowed more than one /64

# Per account. Only failures count: a successful login takes its own attempt back.
FAILURES_PER_SOURCE = Limit(5, 15 * MINUTE)
FAILURES_FROM_UNKNOWN_SOURCES = Limit(20, HOUR)
AFTER_100_FAILURES = Limit(1, HOUR, after_failures=100)  # NIST SP 800-63B-4 section 3.2.2

KNOWN_ADDRESS_LIFE = timedelta(days=30)  # since the last login from there
