"""Who was verified is remembered for seconds, and forgotten in the moment in which something of theirs ends."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from app.main import create_app
from app.security.bearer import BearerToken
from app.security.credential_cache import CredentialCache
from app.security.credentials import Principal
from tests.security.fixtures import Database, MakeClient
from tests.security.persons import PASSWORD, Person

AsPerson = Callable[..., Person]


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every credential that is really looked at, as against remembered."""
    found: list[str] = []
    verify = BearerToken.verify

    async def counting(self: BearerToken, credential: str, connection: HTTPConnection) -> Any:
        found.append(credential)
        return await verify(self, credential, connection)

    monkeypatch.setattr(BearerToken, "verify", counting)
    return found


def test_a_caller_who_was_seen_just_now_is_not_verified_again(as_person: AsPerson, verified: list[str]) -> None:
    person = as_person()

    assert [person.get("/users/me").status_code for _ in range(5)] == [200] * 5

    assert len(verified) == 1


def test_zero_seconds_remember_nobody(make_client: MakeClient, as_person: AsPerson, verified: list[str]) -> None:
    person = as_person(client=make_client(AUTH_CACHE_SECONDS="0"))

    assert [person.get("/users/me").status_code for _ in range(3)] == [200] * 3

    assert len(verified) == 3


def test_a_refusal_is_never_remembered(client: TestClient, as_person: AsPerson, verified: list[str]) -> None:
    for _ in range(2):
        assert client.get("/users/me", headers={"Authorization": "Bearer x.y.z"}).status_code == 401

    assert len(verified) == 2


def log_out(person: Person) -> None:
    assert person.post("/auth/logout").status_code == 204


def end_all(person: Person) -> None:
    assert person.delete("/auth/sessions").status_code == 204


def change_password(person: Person) -> None:
    change = {"current_password": PASSWORD, "new_password": "quite another 9 zebra lamp"}
    assert person.post("/users/me/password", json=change).status_code == 200


ENDINGS = pytest.mark.parametrize("end", [log_out, end_all, change_password])


@ENDINGS
def test_an_ending_holds_at_once_where_it_happens(as_person: AsPerson, end: Callable[[Person], None]) -> None:
    person = as_person()
    assert person.get("/users/me").status_code == 200

    end(person)

    assert person.get("/users/me").status_code == 401


@ENDINGS
def test_another_process_knows_it_after_the_cached_seconds(
    make_client: MakeClient, as_person: AsPerson, end: Callable[[Person], None]
) -> None:
    here = make_client(AUTH_CACHE_SECONDS="1")
    person = as_person(client=here)
    elsewhere = TestClient(create_app(), base_url="http://localhost", client=("127.0.0.1", 50000))
    elsewhere.headers["Authorization"] = person.headers["Authorization"]
    with elsewhere:
        assert elsewhere.get("/users/me").status_code == 200

        end(person)
        time.sleep(1.1)

        assert elsewhere.get("/users/me").status_code == 401


class Barrier:
    """Holds one verification at the moment when it has read the database, and before its result is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.armed = True
        verify, barrier = BearerToken.verify, self

        async def pausing(kind: BearerToken, credential: str, connection: HTTPConnection) -> Any:
            result = await verify(kind, credential, connection)
            if barrier.armed:
                barrier.armed = False
                barrier.reached.set()
                await asyncio.to_thread(barrier.go_on.wait, 10)
            return result

        monkeypatch.setattr(BearerToken, "verify", pausing)


def test_a_session_that_ends_while_its_token_is_verified_is_not_remembered(
    as_person: AsPerson, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, barrier = as_person(), Barrier(monkeypatch)
    first: list[int] = []
    request = threading.Thread(target=lambda: first.append(person.get("/users/me").status_code))

    request.start()
    assert barrier.reached.wait(10)
    revoked = person.post("/auth/revoke", data={"token": person.tokens["refresh_token"]})
    barrier.go_on.set()
    request.join(10)

    assert revoked.status_code == 200
    assert first == [200]  # it was still true when it was read
    assert person.get("/users/me").status_code == 401


def test_what_is_remembered_never_outlives_the_credential() -> None:
    cache: CredentialCache[str] = CredentialCache(30)
    key = cache.key("bearer", "token")

    cache.keep(key, "someone", account=uuid.uuid4(), lifetime=0.05, begun=cache.begin())

    assert cache.get(key) == "someone"
    time.sleep(0.06)
    assert cache.get(key) is None


def test_what_is_remembered_is_bounded() -> None:
    cache: CredentialCache[int] = CredentialCache(30, capacity=3)
    for number in range(10):
        cache.keep(cache.key("bearer", str(number)), number, account=uuid.uuid4(), lifetime=30, begun=cache.begin())

    remembered = [number for number in range(10) if cache.get(cache.key("bearer", str(number))) is not None]

    assert remembered == [7, 8, 9]


def test_the_credential_itself_is_not_kept(as_person: AsPerson, client: TestClient) -> None:
    person = as_person()
    person.get("/users/me")
    cache: CredentialCache[Principal] = client.app.state.credentials.cache  # type: ignore[attr-defined]

    assert person.tokens["access_token"] not in repr(vars(cache))


def test_a_lost_database_is_never_a_yes(
    make_client: MakeClient, as_person: AsPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(AUTH_CACHE_SECONDS="1")
    person = as_person(client=client)
    assert person.get("/users/me").status_code == 200

    def lost(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(client.app.state.database, "_looking_up", type("Gone", (), {"connect": lost})())  # type: ignore[attr-defined]
    time.sleep(1.1)
    answer = person.get("/users/me")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
