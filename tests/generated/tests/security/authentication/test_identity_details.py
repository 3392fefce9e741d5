"""The end of a session holds at once in this process, and after the cached seconds in every other one."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.main import create_app
from app.security.access import accounts
from app.security.authentication.tokens import BearerToken
from tests.security.authentication.test_identity import ENDINGS, AsPerson
from tests.security.fixtures import Database, MakeClient
from tests.security.http.test_websockets import sockets  # noqa: F401
from tests.security.persons import Person


@ENDINGS
def test_a_revocation_holds_in_another_process_after_the_cached_seconds(
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
    assert first == [401]  # true when it was read, and asked again before the route
    assert person.get("/users/me").status_code == 401


def test_a_socket_ends_with_the_role_it_was_opened_with(
    sockets: TestClient,
    as_person: AsPerson,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "ROLES", {"some_role"})  # whether this project has any or none
    person = as_person(client=sockets, role="some_role")

    with person.websocket_connect("/echo") as socket:
        Database(sockets).rows("DELETE FROM account_roles")
        time.sleep(2.2)
        socket.send_text("still here")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()

    assert closed.value.code == 1008
