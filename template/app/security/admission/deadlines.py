"""Gives up what takes too long. One timer looks at all that is under way: a timer for each request costs far more."""

import asyncio
import math
import time
from typing import Protocol, cast

NEVER = math.inf
LONGEST_PAUSE_SECONDS = 0.5  # between two looks; so much later than said may be given up


class Answer(Protocol):
    """How far the answer is: it has begun when its status is known; `sending_since` is of the monotonic clock."""

    status: int
    sending_since: float


class Watched:
    """One request. It is given up when `until` has come, a time of the event loop, and no answer has begun; or when
    its client takes nothing of the answer for too long.
    """

    __slots__ = ("_answer", "_cancelling", "_task", "given_up", "until")

    def __init__(self, task: "asyncio.Task[object]", until: float, answer: Answer) -> None:
        self.until = until
        self.given_up = False
        self._answer = answer
        self._task = task
        self._cancelling = task.cancelling()

    def is_due(self, now: float, taken_before: float) -> bool:
        """Whether it took too long to answer, or what was sent before that moment is not taken yet."""
        late = self.until <= now and not self._answer.status
        return not self.given_up and (late or self._answer.sending_since < taken_before)

    def give_up(self) -> None:
        self.given_up = True
        self._task.cancel()

    def was_us(self) -> bool:
        """Whether a cancellation that arrived was ours alone; it counts as handled then (as in asyncio.timeout)."""
        return self.given_up and self._task.uncancel() <= self._cancelling


class Deadlines:
    """`usual_seconds` until an answer begins, `taking_seconds` for the client to take each piece of it."""

    def __init__(self, usual_seconds: float, taking_seconds: float) -> None:
        self._pause = min(LONGEST_PAUSE_SECONDS, usual_seconds / 4, taking_seconds / 4)
        self._taking_seconds = taking_seconds
        self._watched: set[Watched] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, seconds: float | None, answer: Answer) -> Watched:
        """Watch the running task until its answer begins; None is for ever."""
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[object]", asyncio.current_task(loop))
        watched = Watched(task, NEVER if seconds is None else loop.time() + seconds, answer)
        self._watched.add(watched)
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self._pause, self._look, loop)
        return watched

    def forget(self, watched: Watched) -> None:
        self._watched.discard(watched)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, taken_before = loop.time(), time.monotonic() - self._taking_seconds
        for watched in [watched for watched in self._watched if watched.is_due(now, taken_before)]:
            watched.give_up()
        if self._watched and self._loop is loop:
            loop.call_later(self._pause, self._look, loop)
        elif self._loop is loop:
            self._loop = None  # the next request starts it again
