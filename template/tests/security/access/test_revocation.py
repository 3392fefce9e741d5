"""A revocation takes effect at once in this process, and within AUTH_CACHE_SECONDS in every other one."""

import time
import uuid

from starlette.testclient import TestClient

from app.security.access.credentials import Credential, CredentialCache, Principal
from tests.security.callers import AsCaller
from tests.security.fixtures import Database, MakeClient
from tests.security.sample_resource import app_of_things, client_of_things  # noqa: F401

DISABLE = "UPDATE accounts SET is_active = false"


def test_a_revocation_holds_at_once_in_this_process(client: TestClient, as_caller: AsCaller) -> None:
    caller = as_caller()
    assert caller.get("/things").status_code == 200

    Database(client).rows(DISABLE)
    client.app.state.credentials.cache.forget(caller.id)  # type: ignore[attr-defined]

    assert caller.get("/things").status_code == 401


def test_it_holds_in_another_process_after_the_cached_seconds(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS="0.1")
    caller = as_caller(client=client)
    assert caller.get("/things").status_code == 200

    Database(client).rows(DISABLE)
    time.sleep(0.11)

    assert caller.get("/things").status_code == 401


def test_a_verification_that_began_before_a_revocation_is_not_cached() -> None:
    cache, credential = CredentialCache(30), Credential("bearer", uuid.uuid4(), None)
    caller = Principal(uuid.uuid4(), "someone", "person", frozenset(), None, credential)
    key, begun = cache.key("bearer", "token"), cache.revocations

    cache.forget(caller.id)
    cache.keep(key, caller, lifetime=30, begun=begun)

    assert cache.get(key) is None
