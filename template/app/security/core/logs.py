"""Log lines: one JSON object a line on stdout, readable ones in development.

Log lines of a library, and yours, keep their `extra`, have the id of the request, and pass a filter that redacts what
looks like a credential (ASVS 5.0 V16.2.5).
"""

import json
import logging
import re
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, TextIO

from pydantic_core import PydanticSerializationError, to_json

from app.security.core.settings import ServiceSettings, in_production, version

_CREDENTIAL = re.compile(
    r"(?<![\w-])eyJ[\w-]{4,}\.[\w-]+\.[\w-]*|\b(?:rt|ot)_\w{20,}|_(?:live|test)_\w{20,}|\$argon2\w+\$[^\s'\"]+|(?<=://)[^/\s:@]*:[^@/\s]+(?=@)"
    r"|(?<=input_value=).+|(?<='input': ).+|(?<=\)=\().+"  # what pydantic, FastAPI and PostgreSQL quote, and its line
)
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "color_message"}  # the last is uvicorn's


class Output:
    """The form of the lines, and the stream they go to."""

    readable = False
    to_stderr = False
    silent = False

    @classmethod
    def stream(cls) -> TextIO:
        return sys.stderr if cls.to_stderr else sys.stdout


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def now() -> str:
    """The time as in 2026-01-31T23:59:59.999Z."""
    seconds, milliseconds = divmod(int(time.time() * 1000), 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


def write(fields: MutableMapping[str, Any]) -> None:
    """Write one event as one line; control characters and line separators are escaped."""
    if Output.silent:
        return
    line = _readable(fields) if Output.readable else _one_line({**fields, "time": now(), "app_version": version()})
    stream = Output.stream()
    stream.write(f"{line}\n")
    stream.flush()


def to_stderr() -> None:
    """For commands, whose result is on stdout. A terminal shows no events: they would stand in the conversation."""
    Output.to_stderr = True
    Output.readable = Output.silent = sys.stderr.isatty()


def redact(text: str) -> str:
    return _CREDENTIAL.sub("[redacted]", text)


def _one_line(fields: MutableMapping[str, Any]) -> str:
    try:
        line = to_json(fields)  # to escape the rest takes three times as long, the standard library ten times
        return (line if line.isascii() else to_json(fields, ensure_ascii=True)).decode()
    except PydanticSerializationError:  # an unpaired surrogate, for example
        return _encode(fields)


def _readable(fields: MutableMapping[str, Any]) -> str:
    if "path" in fields:  # an access line
        line = "{method:<7} {path:<32} {status} {milliseconds:>7} ms  {actor}".format_map(fields)
        reason = f" ({fields['reason']})" if "reason" in fields else ""
        return f"{now()[11:19]} {json.dumps(redact(line))[1:-1]}{reason}"
    shown = {name: value for name, value in fields.items() if name not in ("event", "user_agent", "request_id")}
    details = " ".join(f"{name}={json.dumps(str(value))[1:-1]}" for name, value in shown.items())
    return f"{now()[11:19]} {fields['event']:<28} {details}"


class _Formatter(logging.Formatter):
    """A log record as one JSON object, or readable."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: _redacted(value) for name, value in record.__dict__.items() if name not in _STANDARD}
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        fields = {name: redact(value) for name, value in fields.items()}
        if Output.readable:
            words = [f"{fields['level']:<8} {fields['message']}", *(f"{name}={value}" for name, value in extra.items())]
            return "\n".join(filter(None, [" ".join(words), fields.get("exception")]))
        from app.security.core.events import current  # it imports this module

        context = current.get()
        request = {"request_id": context.request_id} if context else {}
        return _encode({**extra, **fields, **request, "event": "log", "time": now()})


def _redacted(value: Any, depth: int = 5) -> Any:
    if isinstance(value, dict) and depth:
        return {str(name): _redacted(one, depth - 1) for name, one in value.items()}
    if isinstance(value, list | tuple | set) and depth:
        return [_redacted(one, depth - 1) for one in value]
    return value if isinstance(value, int | float | None) else redact(str(value))


class _Handler(logging.StreamHandler[Any]):
    """Writes to the current stream of events."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = Output.stream()
        super().emit(record)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not an error for each refused WebSocket (uvicorn's pull request 3138), nor the query string of a handshake."""
    message = str(record.msg)
    return not message.startswith(('%s - "WebSocket %s"', "ASGI callable returned without completing handshake."))


def configure() -> None:
    """Send every logger through ours. The server's access log is off, since it shows query strings."""
    Output.readable = not in_production()
    handler = _Handler()
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers = [kept for kept in root.handlers if type(kept) not in (_Handler, logging.StreamHandler)] + [handler]
    root.setLevel(logging.DEBUG if ServiceSettings.current().debug else logging.INFO)
    for name in ("alembic", "httpx", "httpx2", "watchfiles"):  # at INFO a line for each step, request or file
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "fastapi"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
