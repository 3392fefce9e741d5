"""Faults of what the service stores in: Redis and PostgreSQL. Each docstring is a row of docs/faults.md."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.production.processes import until
from tests.production.service import CACHE_SECONDS, Load, Production

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
    return f"{load.failed()} of {len(load.seen)} requests got 503"


def is_served(production: Production) -> Callable[[], bool]:
    client = production.program()
    return lambda: client.status("GET", "/notes?limit=1") == 200


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
def every_connection(production: Production) -> Iterator[None]:
    """Another program holds every connection that the role may have."""
    postgres = production.postgres
    limit = int(postgres.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'api'"))
    postgres.sql("ALTER ROLE api CONNECTION LIMIT 5")
    try:
        with ExitStack() as stack:
            own = "usename = 'api' AND application_name <> 'hog'"
            for _ in range(5):
                postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}")
                stack.enter_context(postgres.session("SET application_name TO hog;", user="api", database="service"))
            postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}")
            yield
    finally:
        postgres.sql(f"ALTER ROLE api CONNECTION LIMIT {limit}")


@pytest.mark.nightly
def test_connections_exhausted(production: Production, seen: Seen) -> None:
    """Another program takes every connection that PostgreSQL allows the service.

    503 while there is none; served as soon as one is free.
    """
    with production.under_load() as load:
        time.sleep(1)
        with every_connection(production):
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

    Logins and the routes of the owner are served. Changes of people, roles and keys get 503 after
    `DATABASE_STATEMENT_SECONDS`, and nothing of them is stored; other events wait in memory.
    """
    holding = f"BEGIN; SELECT pg_advisory_xact_lock({AUDIT_LOCK});"
    with production.under_load() as load:
        time.sleep(1)
        with production.postgres.session(holding, database="service"):
            held = time.monotonic()
            assert production.client().log_in()
            time.sleep(15)
            free = time.monotonic()
        took = until(lambda: load.statuses("change", free).keys() & {201, 204}, 30)
        time.sleep(2)

    only_unavailable(load)
    for what in ("read", "write", "me"):
        assert load.statuses(what).keys() <= {200, 201}, load.statuses(what)
    assert load.statuses("change", held + 1, free).keys() == {503}
    seen(
        f"{refused(load)}, all of them changes of keys; a change again {took:.1f} s after it was free; "
        f"{production.check(load)}"
    )
