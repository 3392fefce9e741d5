"""Faults of what the service stores in: Redis and PostgreSQL. Each docstring is a row of docs/faults.md."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pwd import getpwnam

import pytest

from tests.production.edge import DATABASE
from tests.production.processes import Postgres, folder_for_servers, until
from tests.production.service import ADMIN, CACHE_SECONDS, Load, Production
from tests.rendering import Template
from tests.variants import ALL

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow]
Seen = Callable[[str], None]
AUDIT_LOCK = 0x61756469  # of app/security/audit/chain.py


def only_unavailable(load: Load) -> None:
    """Whoever was not served got a 503 or a 504, never a crash and never a broken connection."""
    assert set(load.statuses()) <= {200, 201, 204, 503, 504}, load.statuses()


def without_a_database(load: Load, away: float, back: float) -> None:
    """Once the cached seconds are over, no protected route is served until the database is back."""
    only_unavailable(load)
    assert load.statuses("me", away + CACHE_SECONDS + 1, back).keys() <= {503, 504}
    assert load.statuses("me", away + CACHE_SECONDS + 1, back)


def refused(load: Load) -> str:
    return f"{load.failed()} of {len(load.seen)} requests got 503 or 504"


def is_served(production: Production) -> Callable[[], bool]:
    client = production.program()
    return lambda: client.status("GET", "/notes?limit=1") == 200


@pytest.mark.rotating(2)
def test_redis_killed(production: Production, seen: Seen) -> None:
    """Redis is killed, and comes back.

    Every request is served. Each process enforces its share of the limits until Redis is back.
    """
    with production.under_load() as load:
        time.sleep(1)
        production.redis.kill()
        time.sleep(3)
        production.redis.start()
        time.sleep(6)

    assert load.failed() == 0, load.statuses()
    lines = [line for one in production.instances for line in one.lines()]
    assert any("Redis is unavailable" in line for line in lines)
    assert any("Redis is available again" in line for line in lines)
    seen(f"{len(load.seen)} requests, 0 failed; {production.check(load)}")


@pytest.mark.nightly
def test_redis_frozen(production: Production, seen: Seen) -> None:
    """Redis stops responding (SIGSTOP), and continues.

    Every request is served, the first of each process 0.25 s later.
    """
    with production.under_load() as load:
        time.sleep(1)
        production.redis.freeze()
        time.sleep(8)
        production.redis.thaw()
        time.sleep(4)

    assert load.failed() == 0, load.statuses()
    assert load.slowest() < 5
    seen(f"{len(load.seen)} requests, 0 failed, the slowest {load.slowest():.1f} s; {production.check(load)}")


@pytest.mark.nightly
def test_postgresql_killed(production: Production, seen: Seen) -> None:
    """PostgreSQL is killed (SIGKILL) during requests, and starts again 10 s later.

    503 while it is away, also where the credential is cached, at the latest after `AUTH_CACHE_SECONDS`; served again as
    soon as it is back, without a restart.
    """
    with production.under_load() as load:
        time.sleep(2)
        production.postgres.kill()
        away = time.monotonic()
        time.sleep(10)
        back = time.monotonic()
        production.postgres.start()
        took = until(is_served(production), 30)
        time.sleep(2)

    without_a_database(load, away, back)
    seen(f"{refused(load)}; served {took:.1f} s after it was back; {production.check(load)}")


@pytest.mark.nightly
def test_postgresql_restarted(production: Production, seen: Seen) -> None:
    """PostgreSQL is restarted (SIGINT, fast shutdown).

    503 for the seconds of the restart, then served without a restart of the service.
    """
    with production.under_load() as load:
        time.sleep(2)
        assert production.postgres.stop(signal.SIGINT) == 0
        production.postgres.start()
        took = until(is_served(production), 30)
        time.sleep(2)

    only_unavailable(load)
    seen(f"{refused(load)}; served {took:.1f} s after it was back; {production.check(load)}")


@pytest.mark.nightly
def test_postgresql_frozen(production: Production, seen: Seen) -> None:
    """PostgreSQL stops responding (SIGSTOP) for 20 s.

    503 when a time-out is over (`DATABASE_STATEMENT_SECONDS` and 2 s), liveness stays 200, readiness turns 503.
    """
    alive = [production.at_instance(one) for one in production.instances]
    with production.under_load() as load:
        time.sleep(2)
        production.postgres.freeze()
        away = time.monotonic()
        time.sleep(4)
        assert [client.status("GET", "/health/live") for client in alive] == [200, 200]
        assert [client.status("GET", "/health/ready") for client in alive] == [503, 503]
        time.sleep(16)
        back = time.monotonic()
        production.postgres.thaw()
        took = until(is_served(production), 30)
        time.sleep(2)

    without_a_database(load, away, back)
    assert load.slowest() < 15
    seen(
        f"{refused(load)}, the slowest after {load.slowest():.1f} s; served {took:.1f} s after it was back; "
        f"{production.check(load)}"
    )


@contextmanager
def no_connection(postgres: Postgres) -> Iterator[None]:
    """PostgreSQL refuses the service's role: "too many connections"."""
    limit = postgres.sql(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{DATABASE}'")  # noqa: S608
    postgres.sql(f"ALTER ROLE {DATABASE} CONNECTION LIMIT 0")
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{DATABASE}'")  # noqa: S608
    try:
        yield
    finally:
        postgres.sql(f"ALTER ROLE {DATABASE} CONNECTION LIMIT {limit}")


@pytest.mark.nightly
def test_connections_exhausted(production: Production, seen: Seen) -> None:
    """PostgreSQL has no connection left for the service: "too many connections".

    503 while there is none; served as soon as one is free.
    """
    with production.under_load() as load:
        time.sleep(1)
        with no_connection(production.postgres):
            away = time.monotonic()
            time.sleep(CACHE_SECONDS + 5)
            back = time.monotonic()
        took = until(is_served(production), 30)
        time.sleep(2)

    without_a_database(load, away, back)
    seen(f"{refused(load)}; served {took:.1f} s after they were free; {production.check(load)}")


@pytest.mark.nightly
def test_audit_lock_held(production: Production, seen: Seen) -> None:
    """An idle transaction holds the lock of the audit log for 15 s.

    Logins and the routes of the owner are served. A change of people, roles or keys gets 503 or 504 when the role's
    `lock_timeout` is over, and nothing of it is stored; a login of the same account waits for it.
    """
    holding = f"BEGIN; SELECT pg_advisory_xact_lock({AUDIT_LOCK});"
    with production.under_load() as load:
        time.sleep(3)  # each process finds out once that a restart has closed its connections
        with production.postgres.session(holding, database=DATABASE):
            held = time.monotonic()
            assert production.client().log_in(ADMIN)
            time.sleep(15)
            free = time.monotonic()
        took = until(lambda: load.statuses("change", free).keys() & {201, 204}, 30)
        time.sleep(2)

    only_unavailable(load)
    lines = [line for one in production.instances for line in one.lines() if "not served" in line]
    causes = [line for line in lines if not re.search("55P03|57014|NotRecorded", line)]  # of the lock itself
    for what in ("read", "write", "me"):
        assert load.statuses(what, held).keys() <= {200, 201}, (load.statuses(what), causes[-6:])
    assert load.statuses("change", held + 1, free).keys() <= {503, 504}
    seen(
        f"{refused(load)}, all of them changes of keys; a change again {took:.1f} s after it was free; "
        f"{production.check(load)}"
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 160 MB in the place where PostgreSQL's data go."""
    folder.mkdir()
    is_root = os.geteuid() == 0
    as_root, owner = ([], getpwnam("postgres").pw_uid) if is_root else (["sudo", "-n"], os.geteuid())
    options = f"size=160m,mode=0700,uid={owner}"
    subprocess.run([*as_root, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run([*as_root, "umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is left in the file system of this folder."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.nightly
def test_disk_full(installed: None, runnable: Template, seen: Seen) -> None:
    """The disk of PostgreSQL is full, and has space again later.

    Writes get 503, reads are served, readiness turns 503, and the log names the disk; with space all is as before.
    """
    with folder_for_servers() as folder, small_disk(folder / "data"):
        project = runnable.copy_of(runnable.render(**ALL), folder / "project")
        with Production(project, folder, instances=1) as production:
            one = production.instances[0]
            client = production.program()
            ready = production.at_instance(one, Connection="close")  # each worker says it once it could not write
            with production.under_load(10) as load:
                time.sleep(2)
                with full(folder / "data"):
                    long = {"title": "long", "body": "".join(map(str, range(2500)))}
                    until(lambda: client.status("POST", "/notes", json=long) != 201, 60, every=0)
                    filled = time.monotonic()
                    until(lambda: ready.status("GET", "/health/ready") == 503, 20)
                    time.sleep(5)
                    freed = time.monotonic()
                took = until(lambda: client.status("POST", "/notes", json=long) == 201, 60)
                until(lambda: ready.status("GET", "/health/ready") == 200, 60)
                time.sleep(2)
            checked = production.check(load)
            lines = one.lines()

    only_unavailable(load)
    assert load.statuses("read", filled, freed).keys() == {200}
    assert any("disk" in line.lower() for line in lines)
    seen(f"{refused(load)}; a write {took:.1f} s after there was space; {checked}")
