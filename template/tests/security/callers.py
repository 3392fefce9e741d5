"""Authenticated callers for tests: by login where people log in, else by an API key."""

import asyncio
from itertools import count
from typing import Protocol, TypeVar
from uuid import UUID

import pytest
from httpx2 import ASGITransport, AsyncClient, Request, Response
from starlette.testclient import TestClient

C = TypeVar("C", bound="CallerClient")
_numbers = count(1)


class CallerClient(TestClient):
    """A client that sends a credential of its account, from an address of its own."""

    name: str
    id: UUID
    address: str


class AsCaller(Protocol):
    def __call__(self, *, scope: str = ..., client: TestClient | None = ...) -> CallerClient: ...


def client_from(base: TestClient, kind: type[C]) -> C:
    """Another client of the same running app."""
    number = next(_numbers)
    address = f"127.{number // 62500 + 1}.{number // 250 % 250}.{number % 250 + 1}"
    made = kind(base.app, base_url=str(base.base_url), client=(address, 50000), raise_server_exceptions=False)
    made.portal, made.address = base.portal, address
    return made


class _InTheLoopOfTheApp(ASGITransport):
    """Database connections belong to one event loop, and a test has another."""

    def __init__(self, client: TestClient) -> None:
        super().__init__(client.app, client=client._transport.client)  # type: ignore[attr-defined]
        self.portal = client.portal

    async def handle_async_request(self, request: Request) -> Response:
        assert self.portal is not None
        answer = self.portal.start_task_soon(super().handle_async_request, request)
        return await asyncio.wrap_future(answer)


def asynchronous(client: TestClient) -> AsyncClient:
    """The same client for an `async def` test: `async with asynchronous(as_caller()) as http: await http.get(…)`."""
    return AsyncClient(transport=_InTheLoopOfTheApp(client), base_url=client.base_url, headers=client.headers)


@pytest.fixture
def as_caller(request: pytest.FixtureRequest) -> AsCaller:
    """An authenticated caller: `as_caller()` has every scope, `as_caller(scope="notes:read")` only that one."""
    try:
        made: AsCaller = request.getfixturevalue("as_person")
    except pytest.FixtureLookupError:  # nobody logs in
        made = request.getfixturevalue("as_program")
    return made
