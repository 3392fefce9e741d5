"""Who was verified is remembered for seconds, whatever they call with, and never longer than it holds."""

import time
import uuid
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from app.security.access.credentials import Credential, CredentialCache, Credentials, Principal
from tests.security.callers import AsCaller, CallerClient
from tests.security.fixtures import MakeClient
from tests.security.sample_resource import app_of_things, client_of_things  # noqa: F401


def watch(client: TestClient) -> list[str]:
    """Every credential that is really looked at from now on, as against remembered."""
    found: list[str] = []
    credentials: Credentials = client.app.state.credentials  # type: ignore[attr-defined]
    for kind in credentials.kinds:
        kind.verify = counting(kind.verify, found)  # type: ignore[method-assign]
    return found


def counting(verify: Any, found: list[str]) -> Any:
    async def counted(credential: str, connection: HTTPConnection) -> Any:
        found.append(credential)
        return await verify(credential, connection)

    return counted


def statuses(caller: CallerClient, number: int) -> list[int]:
    return [caller.get("/things").status_code for _ in range(number)]


def test_a_caller_who_was_seen_just_now_is_not_verified_again(client: TestClient, as_caller: AsCaller) -> None:
    caller, verified = as_caller(), watch(client)

    assert statuses(caller, 5) == [200] * 5
    assert len(verified) == 1


def test_zero_seconds_switch_the_cache_off(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS="0")
    caller, verified = as_caller(client=client), watch(client)

    assert statuses(caller, 3) == [200] * 3
    assert len(verified) == 3


def test_a_refusal_is_never_remembered(client: TestClient, as_caller: AsCaller) -> None:
    caller, verified = as_caller(), watch(client)
    for name in ("Authorization", "X-API-Key"):
        if name in caller.headers:
            caller.headers[name] = caller.headers[name][:-1] + "!"

    assert statuses(caller, 2) == [401] * 2
    assert len(verified) == 2


def someone() -> Principal:
    credential = Credential("bearer", uuid.uuid4(), None)
    return Principal(uuid.uuid4(), "someone", "person", frozenset(), None, credential)


def test_what_is_remembered_never_outlives_the_credential() -> None:
    cache, caller = CredentialCache(30), someone()
    key = cache.key("bearer", "token")

    cache.keep(key, caller, lifetime=0.05, begun=cache.revocations)

    assert cache.get(key) == caller
    time.sleep(0.06)
    assert cache.get(key) is None


def test_what_is_remembered_is_bounded() -> None:
    cache = CredentialCache(30, capacity=3)
    for number in range(10):
        cache.keep(cache.key("bearer", str(number)), someone(), lifetime=30, begun=cache.revocations)

    remembered = [number for number in range(10) if cache.get(cache.key("bearer", str(number))) is not None]

    assert remembered == [7, 8, 9]


def test_the_credential_itself_is_not_kept(client: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller()
    caller.get("/things")
    sent = caller.headers.get("Authorization", "").removeprefix("Bearer ") or caller.headers["X-API-Key"]

    assert sent not in repr(vars(client.app.state.credentials.cache))  # type: ignore[attr-defined]


def test_a_lost_database_is_never_a_yes(
    make_client: MakeClient, as_caller: AsCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS="1")
    caller = as_caller(client=client)
    assert caller.get("/things").status_code == 200

    def lost(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(client.app.state.database, "_single_statements", type("Gone", (), {"connect": lost})())  # type: ignore[attr-defined]
    time.sleep(1.1)
    answer = caller.get("/things")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_an_account_is_remembered_by_name_longer_than_by_authority() -> None:
    cache, caller = CredentialCache(0), someone()
    key = cache.key("bearer", "token")

    cache.keep(key, caller, lifetime=30, begun=cache.revocations)

    assert (cache.get(key), cache.account_of(key)) == (None, caller.id)
    cache.forget(caller.id)
    assert cache.account_of(key) is None
