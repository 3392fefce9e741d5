"""Counting in a sliding window: never more than the limit, and waiting as long as `Retry-After` says is enough."""

import asyncio
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from limits import parse

from app.security.core.settings import ROOT
from app.security.limits import counters
from app.security.limits.counters import Counters, Redis
from tests.security.timing import later

LIMIT = parse("5/minute")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def hits(limits: Counters, number: int, key: str = "caller", cost: int = 1) -> list[int]:
    """How long each of this many requests has to wait; 0 for an allowed one."""

    async def one_after_another() -> list[int]:
        return [(await limits.hit(LIMIT, key, cost))[0] for _ in range(number)]

    return asyncio.run(one_after_another())


def in_memory() -> Counters:
    return Counters("memory://", 1)


def test_no_more_than_the_limit_is_allowed() -> None:
    waits = hits(in_memory(), 20)

    assert waits[:5] == [0] * 5
    assert min(waits[5:]) >= 1


def test_callers_are_counted_apart() -> None:
    limits = in_memory()
    hits(limits, 5)

    assert hits(limits, 1, "another caller") == [0]


@pytest.mark.parametrize("seed", range(40))
def test_waiting_for_retry_after_is_enough_and_at_most_two_windows(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    limits, passed = in_memory(), 0.0
    for _ in range(chosen.randint(1, 12)):
        passed += chosen.choice([0, 1, 12, 59, chosen.randint(0, 70), chosen.random() * 70])
        cost = chosen.randint(1, 5)
        with time_machine.travel(NOON + timedelta(seconds=passed), tick=False):
            wait = hits(limits, chosen.randint(1, 12), cost=cost)[-1]
        assert wait <= 121
        if wait:
            passed += wait
            with time_machine.travel(NOON + timedelta(seconds=passed), tick=False):
                assert hits(limits, 1, cost=cost) == [0]


def test_a_refused_request_is_not_counted() -> None:
    limits = in_memory()
    hits(limits, 50)

    with later(seconds=121):
        assert hits(limits, 5) == [0] * 5


def test_a_cost_that_does_not_fit_is_refused() -> None:
    limits = in_memory()

    assert [wait > 0 for wait in hits(limits, 3, cost=2)] == [False, False, True]
    assert hits(limits, 1) == [0]


def test_the_previous_window_counts_for_the_part_that_is_still_covered() -> None:
    limits = in_memory()
    with time_machine.travel(NOON, tick=False):
        assert hits(limits, 5) == [0] * 5

    with time_machine.travel(NOON + timedelta(seconds=60 + 30), tick=False):  # 2.5 of 5 hits count
        assert hits(limits, 5).count(0) == 2


@pytest.mark.parametrize("second", [0, 30, 59.9])
def test_a_new_caller_has_the_limit_and_no_more_even_across_the_edge_of_a_window(second: float) -> None:
    limits, allowed = in_memory(), 0

    for passed in range(20):
        with time_machine.travel(NOON + timedelta(seconds=second + passed / 100), tick=False):
            allowed += hits(limits, 1).count(0)

    assert allowed == 5


def test_a_clock_set_back_starts_new_counters() -> None:
    limits = in_memory()
    hits(limits, 5)

    with later(hours=-2):
        assert hits(limits, 6).count(0) == 5


def test_parallel_requests_do_not_get_past_the_limit() -> None:
    limits = in_memory()

    async def together() -> list[int]:
        counted = await asyncio.gather(*[limits.hit(LIMIT, "caller") for _ in range(50)])
        return [wait for wait, _, _ in counted]

    assert asyncio.run(together()).count(0) == 5


def test_memory_is_bounded_and_the_least_recent_caller_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "CAPACITY", 3)
    limits = in_memory()
    hits(limits, 5, "first")

    for number in range(3):
        hits(limits, 5, f"caller {number}")

    assert hits(limits, 1, "caller 2") != [0]
    assert hits(limits, 1, "first") == [0]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://192.0.2.1:6379/0"])
@pytest.mark.parametrize(("processes", "share"), [(2, 2), (4, 1), (8, 1)])
def test_without_redis_each_process_allows_its_share(url: str, processes: int, share: int) -> None:
    assert hits(Counters(url, processes), 10).count(0) == share


def test_redis_is_not_imported_where_it_is_not_used() -> None:
    done = subprocess.run([sys.executable, "-c", "import sys, app.main; sys.exit('redis' in sys.modules)"], cwd=ROOT)

    assert done.returncode == 0


def test_the_name_in_the_certificate_of_redis_is_checked_whatever_the_library_does_by_default() -> None:
    options = Redis("rediss://redis.example.com:6379/0").client.connection_pool.connection_kwargs

    assert options["ssl_check_hostname"] is True
