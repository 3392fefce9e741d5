"""Time in tests: move the clock, start calls together, measure."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TypeVar

import time_machine

T = TypeVar("T")


def later(**delta: float) -> time_machine.travel:
    """`with later(minutes=16):` - the clock goes on from there. The monotonic clock stays, so switch caches off."""
    return time_machine.travel(datetime.now(UTC) + timedelta(**delta), tick=True)


def at_once(jobs: Iterable[Callable[[], T]]) -> list[T]:
    """Do each job in a thread of its own, all started together; the results in the order of the jobs."""
    waiting = list(jobs)
    barrier = Barrier(len(waiting))

    def start(job: Callable[[], T]) -> T:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(waiting)) as pool:
        return list(pool.map(start, waiting))


def seconds(work: Callable[[], object]) -> float:
    """How long this takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
