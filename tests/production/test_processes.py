"""Faults of the service's own processes and of their machine. Each docstring is a row of docs/faults.md."""

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest

from tests.production.processes import send_signal, until
from tests.production.service import Production

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.nightly]
Seen = Callable[[str], None]


def kill_workers(production: Production, times: int) -> None:
    """SIGKILL for one worker after the other, each when the one before was replaced."""
    for one in [one for one, _ in zip(cycle(production.instances), range(times), strict=False)]:
        until(lambda one=one: len(one.workers()) == production.workers, 60)
        send_signal(random.choice(one.workers()), signal.SIGKILL)
        time.sleep(1.5)
    for one in production.instances:
        until(lambda one=one: len(one.workers()) == production.workers, 60)


def test_worker_killed_during_writes(production: Production, seen: Seen) -> None:
    """A worker is killed (SIGKILL) during writes and audited changes, nine times.

    A request in it is lost without a response, or answered by the other instance; the parent starts a new worker.
    """
    with production.under_load(40) as load:
        kill_workers(production, 9)

    assert set(load.statuses()) <= {200, 201, 204, 502, 404}, load.statuses()
    broken = sum(load.statuses()[status] for status in (502, 404))
    assert broken <= 9 * 10
    seen(f"{broken} of {len(load.seen)} requests got 502; {production.check(load)}")


def test_worker_killed_during_refresh(production: Production, seen: Seen) -> None:
    """A worker is killed (SIGKILL) during refreshes, five times.

    A refresh token that was received always works. Where the response was lost, the client may have to log in again.
    """
    ended, counts = [], {"refreshes": 0, "lost": 0, "logins": 0}

    def run(number: int) -> None:
        client = production.client(f"127.0.0.{30 + number}")
        token = client.log_in()["refresh_token"]
        while not ended:
            try:
                done = client.refresh(token)
            except Exception:
                done = None
            if done is not None and done.status_code == 200:
                token = done.json()["refresh_token"]
                counts["refreshes"] += 1
                continue
            counts["lost"] += 1
            assert done is None or done.status_code == 502, done.text
            time.sleep(0.2)
            again = client.refresh(token)
            while again.status_code == 502:
                again = client.refresh(token)
            if again.status_code == 200:
                token = again.json()["refresh_token"]
                continue
            assert again.json()["error"] == "invalid_grant", again.text
            counts["logins"] += 1
            token = client.log_in()["refresh_token"]

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(run, number) for number in range(4)]
        try:
            kill_workers(production, 5)
        finally:
            ended.append(True)
    for one in running:
        one.result()

    assert counts["refreshes"] > 50
    production.wait_until_ready()
    production.verify()
    seen(
        f"{counts['refreshes']} refreshes, {counts['lost']} responses lost, {counts['logins']} new logins; "
        "the audit chain verifies"
    )


def test_sigterm_under_load(production: Production, seen: Seen) -> None:
    """An instance gets SIGTERM under load.

    It turns unready, drains and ends with code 0; the other one serves: no request fails.
    """
    one = production.instances[0]
    with production.under_load() as load:
        time.sleep(2)
        begun = time.monotonic()
        code = one.stop()
        took = time.monotonic() - begun
        time.sleep(2)
    one.start()

    assert code == 0
    assert load.failed() == 0, load.statuses()
    seen(f"{len(load.seen)} requests, 0 failed; it ended after {took:.1f} s; {production.check(load)}")


def test_rolling_restart(production: Production, seen: Seen) -> None:
    """Both instances are restarted, one after the other, under 20 requests a second.

    No request fails.
    """
    with production.under_load(20) as load:
        time.sleep(2)
        for one in production.instances:
            assert one.stop() == 0
            one.start()
            time.sleep(2)

    assert load.failed() == 0, load.statuses()
    seen(f"{len(load.seen)} requests, 0 failed; {production.check(load)}")
