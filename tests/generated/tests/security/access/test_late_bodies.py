"""What was revoked while a body arrived is not there any more when the route begins."""

import asyncio
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.core.events import current
from app.security.core.tables import Account
from tests.security.callers import AsCaller, CallerClient
from tests.security.fixtures import Database, MakeClient
from tests.security.raw_asgi import ask
from tests.security.sample_resource import app_of_things

BODY = b'{"title": "late"}'


def post_slowly(client: TestClient, caller: CallerClient, *, here: bool, seconds: float = 0) -> int:
    """The status of a POST whose caller is disabled, in this process or another one, before the body is complete."""

    async def receive() -> Any:
        request = current.set(None)  # else it would be a change of this request, which drops what is cached here
        async with client.app.state.database.begin() as db:  # type: ignore[attr-defined]
            await accounts.set_active(db, await db.get_one(Account, caller.id), False)
        current.reset(request)
        if here:
            client.app.state.credentials.cache.forget(caller.id)  # type: ignore[attr-defined]
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": BODY, "more_body": False}

    sent = {name: caller.headers[name] for name in ("authorization", "x-api-key") if name in caller.headers}
    headers = {name.replace("-", "_"): value for name, value in sent.items()}

    async def call() -> int:
        return await ask(client, "/things", receive, content_type="application/json", **headers)

    assert client.portal is not None
    return client.portal.call(call)


@pytest.mark.parametrize("cached", ["5", "0"])
def test_a_revocation_in_this_process_holds_for_a_body_under_way(
    make_client: MakeClient, as_caller: AsCaller, cached: str
) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS=cached)
    caller = as_caller(client=client)

    assert post_slowly(client, caller, here=True) == 401
    assert Database(client).rows("SELECT * FROM known_addresses") == []


def test_a_revocation_elsewhere_holds_for_a_body_that_takes_longer_than_the_cache(
    make_client: MakeClient, as_caller: AsCaller
) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS="0")
    caller = as_caller(client=client)

    assert post_slowly(client, caller, here=False, seconds=1.1) == 401


def test_a_body_does_not_double_the_life_of_a_cached_caller(make_client: MakeClient, as_caller: AsCaller) -> None:
    client = make_client(build=app_of_things, AUTH_CACHE_SECONDS="2")
    caller = as_caller(client=client)
    assert caller.get("/things").status_code == 200  # verified now
    time.sleep(1.2)

    assert post_slowly(client, caller, here=False, seconds=1.2) == 401
