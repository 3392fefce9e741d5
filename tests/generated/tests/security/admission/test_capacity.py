"""Requests that are being answered are bounded, and one source never has all the room."""

import asyncio
import time
from collections.abc import Iterator
from threading import Event
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.access.policy import Policies
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.timing import at_once

pytestmark = pytest.mark.slow

UNBLOCKED = Event()
NETWORKS = "203.0.113.0/24, 2001:db8::/32"


def add_routes(app: FastAPI) -> None:
    @app.get("/slow", dependencies=[public])
    async def slow() -> None:
        await asyncio.sleep(0.6)

    @app.get("/blocked", dependencies=[public])
    def blocked() -> None:
        UNBLOCKED.wait(20)

    def hang() -> None:
        UNBLOCKED.wait(20)

    def hang_first() -> Iterator[None]:
        yield UNBLOCKED.wait(20)  # type: ignore[misc]

    for path, hanging in (("/dependency", hang), ("/yielding", hang_first)):
        app.get(path, dependencies=[public, Depends(hanging)])(answer)

    @app.get("/quick", dependencies=[public])
    def quick() -> None: ...


async def answer() -> None: ...


def with_few_places(make_client: MakeClient, **variables: str) -> TestClient:
    return make_client(
        build=lambda: assemble(add_routes),
        address="203.0.113.1",
        MAX_IN_FLIGHT="12",
        MAX_IN_FLIGHT_OF_ONE_SOURCE="4",
        DEVELOPMENT_NETWORKS=NETWORKS,
        **variables,
    )


@pytest.fixture(name="client")
def client_with_few_places(make_client: MakeClient) -> TestClient:
    return with_few_places(make_client)


def statuses(clients: list[TestClient], path: str = "/slow") -> list[int]:
    return at_once([lambda one=client: one.get(path).status_code for client in clients])  # type: ignore[misc]


def test_one_source_has_its_share_and_no_more(client: TestClient) -> None:
    found = statuses([client] * 8)

    assert sorted(found) == [200] * 4 + [429] * 4


def test_another_source_is_served_meanwhile(client: TestClient, make_client: MakeClient) -> None:
    other = make_client(client.app, address="203.0.113.2")  # type: ignore[arg-type]

    found = statuses([client] * 8 + [other])

    assert found[-1] == 200


def test_one_ipv6_customer_is_one_source(client: TestClient, make_client: MakeClient) -> None:
    neighbours = [make_client(client.app, address=f"2001:db8::{number}") for number in range(1, 9)]  # type: ignore[arg-type]

    assert sorted(statuses(neighbours)) == [200] * 4 + [429] * 4


def test_all_together_have_no_more_room_than_there_is(client: TestClient, make_client: MakeClient) -> None:
    many = [make_client(client.app, address=f"203.0.113.{number}") for number in range(3, 19)]  # type: ignore[arg-type]

    found = statuses(many)

    assert sorted(found) == [200] * 12 + [503] * 4


def test_a_refusal_has_retry_after(client: TestClient) -> None:
    answers = at_once([lambda: client.get("/slow")] * 6)

    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/blocked", "/dependency", "/yielding"])
def test_what_is_given_up_in_a_thread_keeps_its_place_until_it_is_done(make_client: MakeClient, path: str) -> None:
    client = with_few_places(make_client, RESPONSE_SECONDS="1")
    other = make_client(client.app, address="203.0.113.2")  # type: ignore[arg-type]
    UNBLOCKED.clear()

    given_up = statuses([client] * 4, path)
    meanwhile = [one.get("/quick").status_code for one in (client, other)]
    UNBLOCKED.set()

    assert (given_up, meanwhile) == ([504] * 4, [429, 200])
    ends = time.monotonic() + 5
    while client.get("/quick").status_code != 200:
        assert time.monotonic() < ends


def test_dependencies_in_threads_are_solved_as_ever(make_client: MakeClient) -> None:
    steps: list[str] = []

    def once() -> str:
        steps.append("solved")
        return "found"

    def open_until_the_end(found: Annotated[str, Depends(once)]) -> Iterator[str]:
        try:
            yield found
        except ValueError:
            steps.append("told")
            raise
        finally:
            steps.append("closed")

    async def fail(first: Annotated[str, Depends(once)], opened: Annotated[str, Depends(open_until_the_end)]) -> None:
        steps.append(f"{first} {opened}")
        raise ValueError

    client = make_client(build=lambda: assemble(lambda app: app.get("/fail", dependencies=[public])(fail)))

    assert client.get("/fail").status_code == 500
    assert steps == ["solved", "found found", "told", "closed"]


def test_a_finished_request_releases_its_slot(client: TestClient) -> None:
    first, second = statuses([client] * 4), statuses([client] * 4)

    assert first == second == [200] * 4


def test_one_source_never_holds_all_threads(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add_routes), address="203.0.113.1", DEVELOPMENT_NETWORKS=NETWORKS)
    other = make_client(client.app, address="203.0.113.2")  # type: ignore[arg-type]
    UNBLOCKED.clear()

    def be_quick() -> int:
        time.sleep(0.5)  # the others wait in their threads by now
        status = other.get("/quick").status_code
        UNBLOCKED.set()
        return status

    *blocked, quick = at_once([*[lambda: client.get("/blocked").status_code] * 40, be_quick])

    assert sorted(blocked) == [200] * 10 + [429] * 30
    assert quick == 200


def test_no_route_of_the_template_waits_for_a_thread(make_client: MakeClient) -> None:
    client = make_client(build=assemble)

    assert [policy.name for policy in Policies(client.app).all if policy.uses_threads] == []  # type: ignore[arg-type]
