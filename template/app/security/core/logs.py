"""Where log lines go: JSON on stdout, one object a line; readable ones in development.

Whatever a library logs passes a last filter that hides what looks like a credential (ASVS 5.0 V16.2.5).
"""

import atexit
import json
import logging
import re
import sys
import threading
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar

from pydantic_core import PydanticSerializationError, to_json

from app.security.core.project import version
from app.security.core.settings import ServiceSettings, in_production

_CREDENTIAL = re.compile(
    r"eyJ[\w-]{4,}\.[\w-]+\.[\w-]*|\b(?:rt|ot)_\w{20,}|_(?:live|test)_\w{20,}|\$argon2\w+\$[^\s'\"]+|(?<=://)[^/\s:@]*:[^@/\s]+(?=@)"
)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode
_CHATTY = ("alembic", "httpx", "httpx2", "watchfiles")
_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "fastapi")


MOST_WAITING = 256  # lines; so many are written at once in any case


class _Output:
    """Which form lines have, and where they go."""

    readable = False
    to_stderr = False
    waiting: ClassVar[list[str]] = []
    lock = threading.RLock()  # threads write too


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def now() -> str:
    """This moment as in 2026-01-31T23:59:59.999Z."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


def app_version() -> str:
    """The version of this project, the same in what the app writes and in what is done at the terminal."""
    return version()


def write(fields: MutableMapping[str, Any], *, at_once: bool) -> None:
    """Write one event as one line; control characters and line separators are escaped, so it stays one.

    A line that need not be written at once waits for the next that must, or for `flush`: a write for each costs more
    than making it.
    """
    if _Output.readable:
        line = _readable(fields)
    else:
        fields["time"] = now()
        fields["app_version"] = version()
        line = _one_line(fields)
    with _Output.lock:
        _Output.waiting.append(line)
        if at_once or len(_Output.waiting) >= MOST_WAITING:
            flush()


@atexit.register
def flush() -> None:
    """Write what waits, in the order in which it happened."""
    with _Output.lock:
        if not _Output.waiting:
            return
        lines = "".join(f"{line}\n" for line in _Output.waiting)
        _Output.waiting.clear()
        stream = sys.stderr if _Output.to_stderr else sys.stdout
        stream.write(lines)
        stream.flush()


def _one_line(fields: MutableMapping[str, Any]) -> str:
    try:
        line = to_json(fields)  # to escape the rest takes three times as long, the standard library ten times
        return (line if line.isascii() else to_json(fields, ensure_ascii=True)).decode()
    except PydanticSerializationError:  # half a surrogate pair, for example
        return _encode(fields)


def to_stderr() -> None:
    """For commands, whose stdout is what they were asked for; readable where a person looks on."""
    _Output.to_stderr = True
    _Output.readable = sys.stderr.isatty()


def _readable(fields: MutableMapping[str, Any]) -> str:
    shown = {name: value for name, value in fields.items() if name not in ("event", "user_agent", "request_id")}
    details = " ".join(f"{name}={json.dumps(str(value))[1:-1]}" for name, value in shown.items())
    return f"{now()[11:19]} {fields['event']:<28} {details}"


def redact(text: str) -> str:
    return _CREDENTIAL.sub("[redacted]", text)


class _Line(logging.Formatter):
    """What a library logs, as one JSON object or readable."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        fields = {name: redact(value) for name, value in fields.items()}
        if _Output.readable:
            return "\n".join(filter(None, [f"{fields['level']:<8} {fields['message']}", fields.get("exception")]))
        return _encode({**fields, "event": "log", "time": now()})


class _Stdout(logging.StreamHandler[Any]):
    """Writes to whatever sys.stdout is at that moment, and in commands to sys.stderr."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        flush()  # so lines stand in the order in which things happened
        self.stream = sys.stderr if _Output.to_stderr else sys.stdout
        super().emit(record)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """uvicorn calls each refusal of a WebSocket an error (its pull request 3138), so any stranger could raise it; and
    it says of each handshake what our access event says, with the query string.
    """
    message = str(record.msg)
    return not message.startswith(('%s - "WebSocket %s"', "ASGI callable returned without completing handshake."))


def configure() -> None:
    """Send every logger through ours; the server's access log is off, since it shows query strings."""
    _Output.readable = not in_production()
    handler = _Stdout()
    handler.setFormatter(_Line())
    root = logging.getLogger()
    root.handlers = [kept for kept in root.handlers if type(kept) not in (_Stdout, logging.StreamHandler)] + [handler]
    root.setLevel(logging.DEBUG if ServiceSettings.current().debug else logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SERVER_LOGGERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
