"""Gives up what takes too long. One timer looks at all that is under way: a timer for each request costs far more."""

import asyncio
import math
from typing import Protocol, cast

NEVER = math.inf
LONGEST_PAUSE_SECONDS = 0.5  # between two looks; so much later than said may be given up


class Answered(Protocol):
    """What says whether the answer has begun: then its status is known, and nothing is given up any more."""

    status: int


class Watched:
    """One request. It is given up when `until` has come, a time of the event loop, and no answer has begun."""

    __slots__ = ("_answered", "_cancelling", "_task", "given_up", "until")

    def __init__(self, task: "asyncio.Task[object]", until: float, answered: Answered) -> None:
        self.until = until
        self.given_up = False
        self._answered = answered
        self._task = task
        self._cancelling = task.cancelling()

    def give_up(self) -> None:
        self.until = NEVER
        if not self._answered.status:
            self.given_up = True
            self._task.cancel()

    def was_us(self) -> bool:
        """Whether a cancellation that arrived was ours alone; it counts as handled then (as in asyncio.timeout)."""
        return self.given_up and self._task.uncancel() <= self._cancelling


class Deadlines:
    def __init__(self, usual_seconds: float) -> None:
        self._pause = min(LONGEST_PAUSE_SECONDS, usual_seconds / 4)
        self._watched: set[Watched] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, seconds: float | None, answered: Answered) -> Watched:
        """Watch the running task until its answer begins; None is for ever."""
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        watched = Watched(task, NEVER if seconds is None else loop.time() + seconds, answered)
        self._watched.add(watched)
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self._pause, self._look, loop)
        return watched

    def forget(self, watched: Watched) -> None:
        self._watched.discard(watched)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for watched in [watched for watched in self._watched if watched.until <= now]:
            watched.give_up()
        if self._watched and self._loop is loop:
            loop.call_later(self._pause, self._look, loop)
        elif self._loop is loop:
            self._loop = None  # the next request starts it again
