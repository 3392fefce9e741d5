"""Counting in a sliding window: never more than the limit, and whoever waits as long as told gets through."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from limits import parse

from app.security.core.settings import ROOT
from app.security.limits import limit_storage
from app.security.limits.limit_storage import Breaker, Limits, share
from app.security.limits.route_limit_storage import SharedOrAlone
from tests.security.timing import later

LIMIT = parse("5/minute")


def hits(limits: Limits, number: int, key: str = "somebody") -> list[int]:
    """How long each of so many requests has to wait; 0 for those that may go on."""

    async def one_after_another() -> list[int]:
        return [await limits.hit(LIMIT, key) for _ in range(number)]

    return asyncio.run(one_after_another())


def alone() -> Limits:
    return Limits("memory://", 1)


def test_no_more_than_the_limit_get_through() -> None:
    waits = hits(alone(), 20)

    assert waits[:5] == [0] * 5
    assert min(waits[5:]) >= 1


def test_callers_are_counted_apart() -> None:
    limits = alone()
    hits(limits, 5)

    assert hits(limits, 1, "somebody else") == [0]


def test_whoever_waits_as_long_as_told_gets_through() -> None:
    limits = alone()
    wait = hits(limits, 6)[-1]

    with later(seconds=wait):
        assert hits(limits, 1) == [0]


@given(st.lists(st.integers(0, 70), min_size=1, max_size=12), st.integers(1, 12))
def test_what_is_told_is_enough_and_hardly_too_much(pauses: list[int], at_once: int) -> None:
    limits, gone = alone(), 0
    for pause in pauses:
        gone += pause
        with later(seconds=gone):
            wait = hits(limits, at_once)[-1]
        if wait:
            with later(seconds=gone + wait):
                assert hits(limits, 1) == [0]
            gone += wait
        assert wait <= 60


def test_a_refused_request_counts_nothing() -> None:
    limits = alone()
    hits(limits, 50)

    with later(seconds=121):
        assert hits(limits, 5) == [0] * 5


def test_after_two_windows_all_is_forgotten() -> None:
    limits = alone()
    hits(limits, 5)

    with later(minutes=2, seconds=1):
        assert hits(limits, 6)[:5] == [0] * 5


def test_hits_of_the_window_before_count_for_as_much_of_it_as_is_still_seen() -> None:
    limits, start = alone(), datetime(2026, 1, 1, 12, tzinfo=UTC)
    with time_machine.travel(start, tick=False):
        assert hits(limits, 5) == [0] * 5

    with time_machine.travel(start + timedelta(seconds=60 + 30), tick=False):  # half of it: 2.5 of 5
        allowed = hits(limits, 5).count(0)

    assert allowed == 3


@pytest.mark.parametrize("second", [0, 30, 59.99])
def test_whoever_is_new_has_the_limit_and_no_more_whenever_they_come(second: float) -> None:
    limits, minute = alone(), datetime(2026, 1, 1, 12, tzinfo=UTC)

    allowed = 0
    for passed in range(20):
        with time_machine.travel(minute + timedelta(seconds=second + passed / 100), tick=False):
            allowed += hits(limits, 1).count(0)

    assert allowed == 5


def test_a_clock_that_is_set_back_starts_anew() -> None:
    limits = alone()
    hits(limits, 5)

    with later(hours=-2):
        assert hits(limits, 6).count(0) == 5


def test_a_clock_that_is_set_back_a_little_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = alone()
    hits(limits, 5)

    with later(seconds=-2):
        assert hits(limits, 6).count(0) == 0


def test_parallel_requests_are_no_way_around() -> None:
    limits = alone()

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*[limits.hit(LIMIT, "somebody") for _ in range(50)])

    assert asyncio.run(all_at_once()).count(0) == 5


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_storage, "CAPACITY", 100)
    limits = alone()

    for number in range(300):
        hits(limits, 1, f"caller {number}")

    assert len(limits._alone._known) == 100


@pytest.mark.parametrize(("limit", "processes", "expected"), [(300, 4, 75), (5, 2, 2), (1, 8, 1), (3, 8, 1)])
def test_a_process_that_counts_alone_allows_its_share(limit: int, processes: int, expected: int) -> None:
    assert share(limit, processes) == expected


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://192.0.2.1:6379/0"])
def test_without_redis_requests_go_on_and_are_still_counted(url: str) -> None:
    limits = Limits(url, 2)

    waits = hits(limits, 10)

    assert waits.count(0) == share(LIMIT.amount, 2)


def test_a_limit_of_a_route_is_shared_out_too_while_redis_is_away() -> None:
    storage = SharedOrAlone("redis://127.0.0.1:1/0", 4, Breaker())

    assert [storage.acquire_entry("somebody", 8, 60) for _ in range(3)] == [True, True, False]


def test_who_counts_in_memory_does_not_wait_for_redis_to_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", "import sys, app.main; sys.exit('redis' in sys.modules)"], cwd=ROOT)

    assert done.returncode == 0
