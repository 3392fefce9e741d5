"""With Redis several processes count together; while it is stopped or hangs, requests are served and still limited."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from app.security.access.identity import public, require_scope
from app.security.core.settings import ROOT
from app.security.limits.counters import RETRY_SECONDS
from app.security.rate_limits import limiter
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.limits.redis_server import RedisServer, redis
from tests.security.limits.test_limited_callers import with_credential_of
from tests.security.timing import at_once

__all__ = ["redis"]  # a fixture
pytestmark = pytest.mark.server
Clients = Callable[..., list[TestClient]]


@limiter.limit("4/minute")
def only_some(request: Request) -> None: ...


@limiter.limit("1000/minute", critical=True)
def critical(request: Request) -> None: ...


async def known() -> None: ...


def app_with_routes() -> FastAPI:
    def add(app: FastAPI) -> None:
        app.get("/any", dependencies=[public])(lambda: "served")
        app.get("/some", dependencies=[public])(only_some)
        app.get("/critical", dependencies=[public])(critical)
        app.get("/known", dependencies=[require_scope("known:read")])(known)

    return assemble(add)


@pytest.fixture
def processes(make_client: MakeClient, redis: RedisServer) -> Clients:
    """Two apps that share one Redis, as two processes do."""

    def make(limit: str = "6/minute", user: str = "", **others: str) -> list[TestClient]:
        url = redis.url.replace("//", f"//{user}")
        variables = {"RATE_LIMIT": limit, "RATE_LIMIT_STORAGE_URL": url, "WEB_CONCURRENCY": "2"} | others
        return [make_client(build=app_with_routes, **variables) for _ in range(2)]

    return make


def statuses(clients: list[TestClient], number: int, path: str = "/any") -> list[int]:
    return [clients[turn % len(clients)].get(path).status_code for turn in range(number)]


def durations(work: list[Callable[[], Any]]) -> list[float]:
    times = []
    for call in work:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


@contextmanager
def watched() -> Iterator[list[float]]:
    """For how long the machine, and not a server, held up this process."""
    stalls, done = [0.0], Event()

    def watch() -> None:
        while not done.is_set():
            stalls.append(durations([lambda: time.sleep(0.01)])[0] - 0.01)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield stalls
    finally:
        done.set()
        watcher.join()


def test_two_processes_share_one_limit(processes: Clients) -> None:
    assert statuses(processes(), 10) == [200] * 6 + [429] * 4


def test_requests_at_once_from_many_addresses_count_for_their_account(processes: Clients, as_caller: AsCaller) -> None:
    client, _ = processes("3/minute", AUTH_CACHE_SECONDS="30")
    owner = as_caller(client=client)
    addresses = [with_credential_of(client, owner) for _ in range(12)]
    assert addresses.pop().get("/health/ready").status_code == 200  # connects to Redis

    found = at_once([lambda one=one: one.get("/known").status_code for one in addresses])

    assert found.count(200) == 3


def test_two_processes_share_the_limit_of_one_route(processes: Clients) -> None:
    assert statuses(processes("1000/minute"), 6, "/some") == [200] * 4 + [429] * 2


def test_no_address_or_account_stands_in_redis(processes: Clients, redis: RedisServer) -> None:
    import redis as client_library

    statuses(processes(), 3)
    statuses(processes(), 3, "/some")

    with client_library.Redis.from_url(redis.url) as connection:
        keys = b" ".join(connection.keys("*"))  # type: ignore[arg-type]
    assert keys
    assert b"127.0.0.1" not in keys


def test_the_documented_redis_user_has_every_permission_that_counting_needs(
    processes: Clients, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    import redis as client_library

    page = (ROOT / "docs/security/operations.md").read_text()
    user = next(line for line in page.splitlines() if line.startswith("ACL SETUSER")).split()
    clients = processes("20/minute", f"{user[2]}:PASSWORD@")
    with client_library.Redis.from_url(redis.url) as connection:
        connection.execute_command(*user)  # type: ignore[no-untyped-call]

        assert statuses(clients, 6, "/some") == [200] * 4 + [429] * 2

    assert "Redis is unavailable" not in caplog.text


@pytest.mark.parametrize("away", ["stop", "freeze"])
@pytest.mark.parametrize("path", ["/any", "/some"])
def test_without_redis_every_request_is_answered_in_time_and_still_limited(
    processes: Clients, redis: RedisServer, away: str, path: str
) -> None:
    clients = processes("6/minute" if path == "/any" else "1000/minute")
    statuses(clients, 2, path)

    getattr(redis, away)()
    answers: list[int] = []
    with watched() as stalls:
        times = durations([lambda: answers.append(clients[0].get(path).status_code)] * 12)

    assert max(times) - max(stalls) < 0.6
    assert sum(times) < 2  # one of them alone waited for Redis
    assert answers.count(200) <= 3  # the share of one process
    assert 429 in answers


def test_without_redis_the_processes_of_every_instance_share_a_limit(processes: Clients, redis: RedisServer) -> None:
    clients = processes("12/minute", INSTANCES="3")
    redis.stop()

    assert statuses(clients, 12).count(200) == 2 * (12 // (3 * 2))  # of six processes these are two


@pytest.mark.parametrize("away", ["stop", "freeze"])
def test_a_critical_limit_refuses_while_redis_is_unavailable(processes: Clients, redis: RedisServer, away: str) -> None:
    client, _ = processes("1000/minute")
    assert client.get("/critical").status_code == 200

    getattr(redis, away)()
    refused = client.get("/critical")
    {"stop": redis.start, "freeze": redis.thaw}[away]()
    time.sleep(RETRY_SECONDS + 0.5)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert client.get("/critical").status_code == 200


@pytest.mark.parametrize("away", ["stop", "freeze"])
def test_counting_together_is_back_within_ten_seconds(processes: Clients, redis: RedisServer, away: str) -> None:
    clients = processes("8/minute")
    statuses(clients, 2)
    getattr(redis, away)()
    statuses(clients, 2)

    {"stop": redis.start, "freeze": redis.thaw}[away]()
    time.sleep(RETRY_SECONDS + 0.5)

    answers = statuses(clients, 20)
    assert 2 <= answers.count(200) <= 8


def test_the_liveness_probe_responds_while_redis_hangs(processes: Clients, redis: RedisServer) -> None:
    clients = processes()
    redis.freeze()

    assert max(durations([lambda: clients[0].get("/health/live")] * 5)) < 0.3
