"""The security tables, the same in every project whatever its answers, so that a toggle never migrates anything.

They only ever grow: the type of `accounts.id` is final, and no column that you can reference is dropped or renamed.
"""

import re
import unicodedata
import uuid
from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

from fastapi.encoders import encoders_by_class_tuples
from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, false, true
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base

# Password hashes that no password matches: of a person who has not chosen one yet, and of one who logs in elsewhere.
UNUSABLE_PASSWORD = "!"  # noqa: S105  # nosec B105  # no hash, so nothing opens it
EXTERNAL_LOGIN = "!external"


def utc_now() -> datetime:
    return datetime.now(UTC)


def normalise_login(name: str) -> str:
    """The form of a login name in the unique index and in the login throttle."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


# Characters that show nothing, so two names that differ by one look alike: Default_Ignorable_Code_Point of Unicode 16
# (DerivedCoreProperties.txt), without those that str.isprintable() refuses anyway.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


def is_displayable(name: str) -> bool:
    """Whether a terminal or a page shows every character of a name."""
    return name.isprintable() and not _INVISIBLE.search(name)


class Account(Base):
    """A caller: a person with a password, or a service with API keys."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("kind IN ('person', 'service')", name="kind"),
        CheckConstraint("(kind = 'service') = (password_hash IS NULL)", name="password"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(254))
    login: Mapped[str] = mapped_column(String(1024), unique=True)  # normalise_login(name); folding can lengthen it
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    token_version: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AccountRole(Base):
    __tablename__ = "account_roles"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(31), primary_key=True)


class OneTimeToken(Base):
    """An invitation or a password reset: its token sets the password of the account, once.

    It is valid while its issuer has that `token_version`: an administrator, or the account itself; none at a terminal.
    """

    __tablename__ = "one_time_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    issuer_id: Mapped[UUID | None]
    issuer_version: Mapped[int | None]


class Session(Base):
    """A login and its refreshes."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    client_id: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str | None] = mapped_column(String(4096))  # None: not limited
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    last_used_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ip_prefix: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(200))
    reuse_refusals: Mapped[int] = mapped_column(default=0, server_default="0")


class RefreshToken(Base):
    __tablename__ = "refresh_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    issued_at: Mapped[datetime] = mapped_column(default=utc_now)
    used_at: Mapped[datetime | None]
    used_from: Mapped[str | None] = mapped_column(String(300))  # address prefix and user agent of who used it


class ApiKey(Base):
    """The API key of an account, limited to its scopes."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    public_id: Mapped[str] = mapped_column(String(11), unique=True)  # stands in the key, to find its row by
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    last_four: Mapped[str] = mapped_column(String(4))
    scopes: Mapped[str] = mapped_column(String(4096))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    replaced_at: Mapped[datetime | None]  # rotated: a successor exists, and this key ends when the overlap is over


class KnownAddress(Base):
    """An address from which this account has logged in. It has its own bucket: no attacker elsewhere locks it out."""

    __tablename__ = "known_addresses"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    address_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    last_login_at: Mapped[datetime] = mapped_column(default=utc_now)


class ThrottleBucket(Base):
    """Recent login attempts under one key, as milliseconds since 1970, oldest first."""

    __tablename__ = "throttle_buckets"

    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    attempts: Mapped[str] = mapped_column(String(8192), default="", server_default="")
    failures_in_a_row: Mapped[int] = mapped_column(default=0, server_default="0")
    permanent: Mapped[bool] = mapped_column(default=False, server_default=false())  # of an account, so never evicted
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)


class AuditEvent(Base):
    """A security event that was kept. Every row is chained to the one before: see `audit/chain.py`."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "event", "seq"), Index(None, "actor", "seq"))

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(unique=True)
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(254))
    reason: Mapped[str | None] = mapped_column(String(2048))
    client_ip: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str | None] = mapped_column(String(200))
    request_id: Mapped[str | None] = mapped_column(String(64))
    client_request_id: Mapped[str | None] = mapped_column(String(64))
    method: Mapped[str | None] = mapped_column(String(32))
    route: Mapped[str | None] = mapped_column(String(512))
    app_version: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(8))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditChain(Base):
    """Where the chain of audit events ends: one row, "head". `start_of` of `audit/chain.py` finds where it starts."""

    __tablename__ = "audit_chain"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))


_OURS = (Account, AccountRole, OneTimeToken, Session, RefreshToken, ApiKey, KnownAddress, ThrottleBucket)
SECURITY_TABLES = frozenset(model.__tablename__ for model in (*_OURS, AuditEvent, AuditChain))
SECURITY_VERSIONS = "alembic_version_security"  # which of our revisions the database has


def _encode(row: object) -> NoReturn:
    raise TypeError(f"{type(row).__name__} may hold a hash: respond with a model of your own")


encoders_by_class_tuples[_encode] = (*_OURS, AuditEvent, AuditChain)  # where a route has no response model
