"""People for tests: `as_person(role="admin")` makes one, logs in, and calls as them."""

from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.authentication import passwords, sessions
from app.security.authentication.passwords import PasswordHasher, PasswordSettings
from app.security.authentication.routes import token_response
from app.security.authentication.sessions import Grant
from app.security.authentication.throttle import Client
from app.security.core.tables import Account
from tests.security.callers import CallerClient, client_from
from tests.security.fixtures import Database, MakeClient, run

PASSWORD = "correct staple 7 battery horse"
_numbers = count(1)
_hashes: dict[tuple[str, object], str] = {}
_Context = passwords.CryptContext


def _cheap_context(schemes: list[str], **options: Any) -> object:
    return _Context(schemes, **options | {"argon2__memory_cost": 8, "argon2__time_cost": 1})


@pytest.fixture
def real_hashing() -> None:
    """For tests of hashing itself: Argon2 with the costs of the settings."""


@pytest.fixture(autouse=True)
def cheap_hashing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with the lowest costs that Argon2 has, unless the test uses `real_hashing`."""
    if "real_hashing" not in request.fixturenames:
        monkeypatch.setattr(passwords, "CryptContext", _cheap_context)


def hash_of(password: str) -> str:
    """Hash each password once for all tests."""
    key = password, passwords.CryptContext
    if key not in _hashes:
        _hashes[key] = run(PasswordHasher(PasswordSettings()).hash(password))
    return _hashes[key]


def create_person(client: TestClient, name: str, *roles: str, password: str = PASSWORD) -> UUID:
    """A person who may log in, without going over HTTP."""

    password_hash = hash_of(password)

    async def create(session: AsyncSession) -> UUID:
        account = await accounts.create(session, name, password_hash=password_hash, roles=roles)
        return account.id

    return Database(client).run(create)


class Person(CallerClient):
    """A logged-in person: a client that sends their token, the one among `tokens`."""

    tokens: dict[str, Any]

    def log_in(self, password: str = PASSWORD, **form: str) -> None:
        """Log in, again if need be, and send that token from now on."""
        self.headers.pop("Authorization", None)
        answer = log_in(self, self.name, password, **form)
        assert answer.status_code == 200, answer.text
        self.use(answer.json())

    def use(self, tokens: dict[str, Any]) -> None:
        self.tokens = tokens
        self.headers["Authorization"] = f"Bearer {tokens['access_token']}"


def log_in(client: TestClient, name: str, password: str = PASSWORD, **form: str) -> Any:
    return client.post("/auth/token", data={"grant_type": "password", "username": name, "password": password, **form})


def refresh(client: TestClient, refresh_token: str, **form: str) -> Any:
    return client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": refresh_token, **form})


def log_in_quietly(person: Person, scope: str = "") -> dict[str, Any]:
    """The response to a login, without the time that hashing takes."""
    policies = person.app.state.policies  # type: ignore[attr-defined]
    place = Client(person.address, "testclient")

    async def start(session: AsyncSession) -> Grant:
        account = await session.get_one(Account, person.id)
        return await sessions.start(session, account, place, frozenset(scope.split()) or None)

    grant = Database(person).run(start)
    return token_response(grant, frozenset(policies.scopes())).model_dump()


@pytest.fixture
def as_person(make_client: MakeClient, request: pytest.FixtureRequest) -> Callable[..., Person]:
    """Make a person, log in, and call as them: `as_person()`, `as_person(role="admin")`, `as_person(scope="a:read")`.

    Each calls from an address of their own. `client=` names the app, where a test has more than one.
    """

    def make(
        *,
        role: str | None = None,
        name: str | None = None,
        client: TestClient | None = None,
        scope: str = "",
    ) -> Person:
        base = client if client is not None else request.getfixturevalue("client")
        person = client_from(base, Person)
        person.name = name or f"person{next(_numbers)}@example.com"
        person.id = create_person(base, person.name, *([role] if role else []))
        person.use(log_in_quietly(person, scope))
        return person

    return make
