"""Faults of the service's own processes and of their machine. Each docstring is a row of docs/faults.md."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.production.edge import DATABASE
from tests.production.processes import send_signal, until
from tests.production.service import NAME, PASSWORD, Client, Instance, Production

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.nightly]
Seen = Callable[[str], None]


def kill_workers(production: Production, times: int, *, hanging: bool = False) -> None:
    """SIGKILL for one worker after the other, each when the one before was replaced."""
    for one in [one for one, _ in zip(cycle(production.instances), range(times), strict=False)]:
        worker, started = one.workers()[0], len(one.events("sys_startup"))
        if hanging:
            send_signal(worker, signal.SIGSTOP)
            time.sleep(2)  # the parent asks it for a sign of life, and waits
        send_signal(worker, signal.SIGKILL)
        until(lambda one=one, started=started: len(one.events("sys_startup")) > started, 55)


def test_worker_killed_during_writes(production: Production, seen: Seen) -> None:
    """A worker is killed (SIGKILL) during writes and audited changes, nine times.

    A request in it is lost without a response, or answered by the other instance; the parent starts a new worker.
    """
    with production.under_load() as load:
        kill_workers(production, 9)

    # 404: a revocation that nginx repeated, since the first one was lost after its commit. 0: a response cut short.
    assert set(load.statuses()) <= {0, 200, 201, 204, 404, 502}, load.statuses()
    broken = sum(load.statuses()[status] for status in (0, 404, 502))
    assert broken <= 9 * 5, load.statuses()
    seen(f"{broken} of {len(load.seen)} requests got 502 or half a response; {production.check(load)}")


REFRESHES_A_MINUTE = 25  # of the 30 that authentication/throttle.py allows an address


@dataclass
class Refreshing:
    """A person whose client refreshes as often as it may."""

    client: Client
    refreshes: int = 0
    lost: int = 0
    logins: int = 0

    def run(self, ended: threading.Event) -> None:
        token = self.log_in()
        while not ended.wait(60 / REFRESHES_A_MINUTE):
            done = self.client.refresh(token)
            if done.status_code == 502:
                self.lost += 1
                done = persistent(lambda token=token: self.client.refresh(token))
                if done.status_code == 400:  # the refresh was committed, but its response was lost
                    assert done.json()["error"] == "invalid_grant"
                    self.logins += 1
                    token = self.log_in()
                    continue
            assert done.status_code == 200, done.text
            token = done.json()["refresh_token"]
            self.refreshes += 1

    def log_in(self) -> str:
        form = {"grant_type": "password", "username": NAME, "password": PASSWORD}
        token: str = persistent(lambda: self.client.token(**form)).json()["refresh_token"]
        return token


def persistent(call: Callable[[], requests.Response]) -> requests.Response:
    """The response to a request that is repeated until something responds to it."""
    while (done := call()).status_code == 502:
        time.sleep(0.1)
    return done


def test_worker_killed_during_refresh(production: Production, seen: Seen) -> None:
    """A worker hangs (SIGSTOP) and is killed (SIGKILL) during refreshes, five times.

    A refresh token that was received always works. Where the response was lost, the client may have to log in again.
    """
    ended, people = threading.Event(), [Refreshing(production.client(f"127.0.0.{30 + one}")) for one in range(9)]
    with ThreadPoolExecutor(9) as pool:
        running = [pool.submit(person.run, ended) for person in people]
        try:
            kill_workers(production, 5, hanging=True)
            until(lambda: sum(one.refreshes for one in people) > 50 or any(one.done() for one in running), 55)
        finally:
            ended.set()
    for one in running:
        one.result()

    refreshes, lost, logins = (sum(getattr(one, name) for one in people) for name in ("refreshes", "lost", "logins"))
    assert refreshes > 50
    production.wait_until_ready()
    production.verify()
    seen(f"{refreshes} refreshes, {lost} responses lost, {logins} new logins; the audit chain verifies")


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


@contextmanager
def replaced(production: Production, one: Instance, **others: Any) -> Iterator[Instance]:
    """Another instance on the port of this one."""
    one.stop()
    other = production.instance(one.port, **others)
    other.log = one.log.with_suffix(".other")
    try:
        other.start()
        yield other
    finally:
        other.kill()
        one.start()


def test_few_file_descriptors(production: Production, seen: Seen) -> None:
    """256 file descriptors, and 400 requests at once while PostgreSQL does not respond.

    Some get 502 to 504, the log names the cause, and the same process serves again as soon as PostgreSQL responds.
    """
    one, other = production.instances
    other.stop()
    few = ["prlimit", "--nofile=256:256"]
    with replaced(production, one, workers=1, prefix=few) as small, ThreadPoolExecutor(400) as pool:
        token = production.client().log_in()["access_token"]
        clients = [production.program(f"127.0.0.{50 + number}") for number in range(20)]
        production.postgres.freeze()
        calls = [pool.submit(clients[number % 20].status, "GET", "/notes") for number in range(400)]
        time.sleep(4)
        production.postgres.thaw()
        statuses = Counter(call.result() for call in calls)
        took = until(lambda: production.person(token).status("GET", "/users/me") == 200, 30)
        lines = small.lines()
    other.start()

    assert statuses.keys() <= {200, 502, 503, 504}, statuses
    assert any("open files" in line for line in lines), lines[-5:]
    refused = sum(number for status, number in statuses.items() if status != 200)
    production.verify()
    seen(f"{refused} of 400 refused; served {took:.1f} s later by the same process; the audit chain verifies")


SLOW_CLOCK = "import time, time_machine\ntime_machine.travel(time.time() - 300, tick=True).start()\n"


def test_slow_clock(production: Production, seen: Seen, tmp_path: Path) -> None:
    """The clock of one instance is five minutes slow.

    It refuses the access tokens of the other one (401) and its log names the clock; API keys and writes work.
    """
    assert production.project.environment
    python = str(production.project.environment.path / "bin/python")
    install = ("uv", "pip", "install", "--quiet", "--python", python, "--target", str(tmp_path), "time-machine>=3,<4")
    production.project.must(*install)
    (tmp_path / "sitecustomize.py").write_text(SLOW_CLOCK)
    slow, right = production.instances
    with replaced(production, slow, PYTHONPATH=str(tmp_path)) as other:
        of_right = production.at_instance(right).log_in()["access_token"]
        of_slow = production.at_instance(other).log_in()["access_token"]

        def me(one: Instance, token: str) -> int:
            return production.at_instance(one, Authorization=f"Bearer {token}").status("GET", "/users/me")

        assert me(right, of_right) == me(right, of_slow) == me(other, of_slow) == 200
        assert me(other, of_right) == 401
        program = production.at_instance(other, **{"X-API-Key": production.key})
        assert program.status("POST", "/notes", json={"title": "slow"}) == 201
        named = [line for line in other.lines() if "clock" in line]
        assert named

    production.wait_until_ready()
    production.verify()
    seen("every token of the other instance was refused; the audit chain verifies")


def test_five_migrations_at_once(production: Production, seen: Seen) -> None:
    """Five `manage migrate` at once on an empty database, as five replicas of a job.

    All of them succeed: one migrates, the others wait for it.
    """
    production.postgres.sql(f"CREATE DATABASE five OWNER {DATABASE}_owner")
    url = (production.folder / "secrets/migration_database_url").read_text().strip()
    file = production.folder / "five"
    file.write_text(url.removesuffix(DATABASE) + "five")

    at_five = {"DATABASE_URL_FILE": str(file), "MIGRATION_DATABASE_URL_FILE": str(file)}

    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: production.manage("migrate", **at_five), range(5)))

    assert len(done) == 5
    production.project.must("alembic", "check", **(production.variables | at_five))
    production.project.must("alembic", "current", "--check-heads", **(production.variables | at_five))
    seen("5 of 5 succeeded")
