"""How much is under way at once, in this process: bounded in all, and no source ever has all the room.

A source is an account where the credential is known, else an address. So neither half-sent requests nor open sockets of
one stop everybody else (OWASP API4:2023).

A `def` endpoint or dependency that took too long runs on after the answer, and keeps its place (`threads.py`). So
threads are never more than there are places, beside those that FastAPI has waiting.
"""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from app.security.core.problems import Problem


class Room:
    """Places that are taken and given back. `total` and `of_one_source` are numbers of places."""

    def __init__(self, total: int, of_one_source: int) -> None:
        self.total = total
        self.of_one_source = of_one_source
        self._taken = 0
        self._taken_by: dict[object, int] = {}

    def enter(self, source: object) -> None:
        """Take a place. Raises: Problem 503 when there is none, 429 when this source has its share."""
        if self._taken >= self.total:
            raise Problem(503, detail="The service is busy; try again.", headers={"Retry-After": "1"})
        taken = self._taken_by.get(source, 0)
        if taken >= self.of_one_source:
            raise Problem(429, detail="Too many requests of yours are open.", headers={"Retry-After": "1"})
        self._taken += 1
        self._taken_by[source] = taken + 1

    def leave(self, source: object) -> None:
        self._taken -= 1
        taken = self._taken_by[source] - 1
        if taken:
            self._taken_by[source] = taken
        else:
            del self._taken_by[source]

    def leave_after(self, thread: Future[Any] | None, source: object) -> None:
        """Give the place back as soon as what the request left in a thread is done."""
        if thread is None or thread.done():
            return self.leave(source)
        loop = asyncio.get_running_loop()

        def leave(_: object) -> None:
            with suppress(RuntimeError):  # the service ended before
                loop.call_soon_threadsafe(self.leave, source)

        thread.add_done_callback(leave)
