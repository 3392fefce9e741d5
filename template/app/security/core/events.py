"""Security events: one JSON line each on stdout, named after the OWASP Logging Vocabulary.

The fields are an allow-list (ASVS 5.0 V16.2.1, V16.2.5): no body, query string, credential, hash or login name.
"""

import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypedDict, Unpack
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.database import after_commit
from app.security.core import logs

Fields = dict[str, object]
EVERY_SECONDS = 60
MOST_NAMES = 20
OF_THE_REQUEST = ("client_ip", "client_request_id", "method", "request_id", "route", "user_agent")


class Event(StrEnum):
    LOGIN_SUCCESS = "authn_login_success"
    LOGIN_FAIL = "authn_login_fail"
    LOGIN_LOCK = "authn_login_lock"
    TOKEN_CREATED = "authn_token_created"  # noqa: S105  # nosec B105  # the name of an event
    TOKEN_REUSE = "authn_token_reuse"  # noqa: S105  # nosec B105  # the name of an event
    PASSWORD_CHANGE = "authn_password_change"  # noqa: S105  # nosec B105  # the name of an event
    PASSWORD_CHANGE_FAIL = "authn_password_change_fail"  # noqa: S105  # nosec B105  # the name of an event
    INVITATION_CREATED = "authn_invitation_created"
    INVITATION_USED = "authn_invitation_used"
    SESSION_CREATED = "session_created"
    SESSION_EXPIRED = "session_expired"
    SESSION_ENDED = "session_ended"
    KEY_CREATED = "api_key_created"
    KEY_FIRST_USE = "api_key_first_use"
    KEY_ROTATED = "api_key_rotated"
    KEY_REVOKED = "api_key_revoked"
    KEY_EXPIRED_USE = "api_key_expired_use"
    AUTHZ_FAIL = "authz_fail"
    AUTHZ_CHANGE = "authz_change"
    AUTHZ_ADMIN = "authz_admin"
    USER_CREATED = "user_created"
    USER_UPDATED = "user_updated"
    USER_DELETED = "user_deleted"
    RATE_LIMIT_EXCEEDED = "excess_rate_limit_exceeded"
    MALICIOUS_CORS = "malicious_cors"
    INPUT_VALIDATION_FAIL = "input_validation_fail"
    STARTUP = "sys_startup"
    SHUTDOWN = "sys_shutdown"
    CRASH = "sys_crash"
    AUDIT_READ = "audit_read"
    AUDIT_PRUNED = "audit_pruned"
    AUDIT_RESTARTED = "audit_restarted"
    AUDIT_VERIFIED = "audit_verified"
    AUDIT_CHECKPOINT = "audit_checkpoint"
    REQUEST = "request"


@dataclass(slots=True)
class EventContext:
    """What every event of one request shares. `access/credentials.py` adds the route's policy and the caller."""

    request_id: str
    method: str
    route: str | None = None  # the template of the path, where a route is found
    client_ip: str = "unknown"
    user_agent: str = ""
    client_request_id: str | None = None  # the X-Request-ID of an untrusted peer
    actor: str = "anonymous"
    reason: str | None = None
    status: int = 0  # of the response, once it has started
    answered_after: float = 0  # seconds, once the response has ended; background tasks may follow


current: ContextVar[EventContext | None] = ContextVar("request_context", default=None)

Listener = Callable[[AsyncSession | None, Fields], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Call it for every event: for a change with its transaction, for anything else with None."""
    if listener not in _listeners:
        _listeners.append(listener)


def configure_sentry() -> None:
    """Keep credentials out of Sentry, where it is in use: by default it sends request bodies and local variables."""
    if sentry := sys.modules.get("sentry_sdk"):
        options = sentry.get_client().options
        options["include_local_variables"] = False
        if options.get("max_request_body_size") == "medium":  # the default
            options["max_request_body_size"] = "never"


class Details(TypedDict, total=False):
    outcome: Literal["success", "failure"]
    actor: UUID | None  # by default the caller of this request
    subject: UUID | str | None
    reason: str | None  # a code, never text from a request


def record(event: StrEnum, **details: Unpack[Details]) -> None:
    """Write one event, of any StrEnum: `record(Mine.EXPORTED, subject=note.id)`. The request adds its fields."""
    logs.write(_announce(None, event, details))


def record_change(db: AsyncSession, event: StrEnum, **details: Unpack[Details]) -> None:
    """Write one event once its change is committed, and not if it is rolled back."""
    fields = _announce(db, event, details)
    after_commit(db, lambda: logs.write(fields))


def _announce(db: AsyncSession | None, event: StrEnum, details: Details) -> Fields:
    """The fields of an event, once every listener has them."""
    context, actor, subject = current.get(), details.get("actor"), details.get("subject")
    values = {
        "event": event,
        "outcome": details.get("outcome", "success"),
        "actor": str(actor or (context.actor if context else "system")),
        "subject": str(subject) if subject else None,
        "reason": details.get("reason"),
        **{name: getattr(context, name, None) for name in OF_THE_REQUEST},
    }
    fields: Fields = {name: value for name, value in values.items() if value is not None}
    for listener in _listeners:
        listener(db, dict(fields))
    return fields


class OnceAMinute:
    """Failures that a client could cause without end: one event a minute for each name, and so many names a minute."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._names: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when last written, suppressed since then

    def record(self, name: str, event: StrEnum, *, subject: str | None = None, reason: str | None = None) -> None:
        """Write a failure if it is due; its reason counts those of this name that were suppressed before it."""
        now = time.monotonic()
        written, suppressed = self._names.get(name, (-math.inf, 0))
        if now - written < EVERY_SECONDS:
            self._names[name] = (written, suppressed + 1)
            return
        if name not in self._names and len(self._names) >= self._most:
            oldest, (its_time, _) = next(iter(self._names.items()))
            if now - its_time < EVERY_SECONDS:
                return
            del self._names[oldest]
        self._names[name] = (now, 0)
        self._names.move_to_end(name)
        if suppressed:
            reason = ", ".join(filter(None, [reason, f"{suppressed} suppressed"]))
        record(event, outcome="failure", subject=subject, reason=reason)
