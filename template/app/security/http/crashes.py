"""What it means that an exception was caught by nobody: our crash, a database out of reach, a race that was lost."""

import errno
import logging
import re
import socket

from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from app.security.core import events
from app.security.core.events import Event
from app.security.core.problems import Problem

log = logging.getLogger(__name__)
# What the database's driver and the operating system say of a server that does not answer.
_OUT_OF_REACH = (OperationalError, InterfaceError, PoolTimeout, ConnectionError, TimeoutError, socket.gaierror)
# SQLSTATEs: no connection or log-in, rolled back, nothing left, shutting down, not now, somebody holds it, reads only.
_PASSING = re.compile(r"08|28|40|53|57P|55000|55P03|25006")
_NO_WAY_THERE = (errno.EHOSTUNREACH, errno.ENETUNREACH)


def problem_for(error: Exception) -> Problem:
    """Which answer an unexpected exception gets."""
    sqlstate = _sqlstate(error)
    if sqlstate == "57014":  # query_canceled
        return Problem(504, detail="The database took too long.")
    if sqlstate.startswith("22"):  # a data exception, such as a NUL in a text
        return Problem(422, detail="The request holds a value that cannot be kept.")
    if isinstance(error, StaleDataError):
        return Problem(409, detail="Somebody else changed or removed this just now.")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    passing = _PASSING.match(sqlstate) or getattr(error, "errno", None) in _NO_WAY_THERE
    if lost or passing or isinstance(error, _OUT_OF_REACH):
        return Problem(503, detail="The service is busy; try again.", headers={"Retry-After": "1"})
    return Problem(500, detail="Something went wrong here. The request's id helps us to find it.")


def _sqlstate(error: BaseException) -> str:
    """What PostgreSQL calls it; while connecting, the driver's own errors come as they are."""
    return str(getattr(getattr(error, "orig", None) or error, "sqlstate", ""))


def tell(error: BaseException, status: int, request_id: str) -> None:
    """A crash is what we have no other answer for: nobody can raise that alarm with a value, or by being second."""
    if isinstance(error, InvalidRequestError) and "closed" in str(error):
        error.add_note(
            "A DbSession ends with its route: a background task or a stream opens its own with Database.begin()."
        )
    if status == 500:
        log.error("unhandled exception, request %s", request_id, exc_info=error)
        events.record(Event.CRASH, outcome="failure", reason=type(error).__name__)
    elif status > 500:
        log.error("not served: %s %s, request %s", type(error).__name__, _sqlstate(error), request_id)
