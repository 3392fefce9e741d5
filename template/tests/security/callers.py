"""Authenticated callers for tests: by login where people log in, else by an API key."""

from itertools import count
from typing import Protocol, TypeVar
from uuid import UUID

import pytest
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


@pytest.fixture
def as_caller(request: pytest.FixtureRequest) -> AsCaller:
    """An authenticated caller: `as_caller()` has every scope, `as_caller(scope="notes:read")` only that one."""
    try:
        made: AsCaller = request.getfixturevalue("as_person")
    except pytest.FixtureLookupError:  # nobody logs in
        made = request.getfixturevalue("as_program")
    return made
