"""Passwords: any characters, long enough, not guessable, hashed slowly, and never in the way of other requests."""

import json

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.testclient import TestClient

from app.security.access import accounts
from app.security.administration import self_service
from tests.security.fixtures import Database, MakeClient

ALICE = "alice.wonderland@example.com"
TODAYS_COSTS = "$argon2id$v=19$m=19456,t=2,p=1$"
REFUSED = {
    "fourteen characters": "qzvkwjmxhtfbpy",
    "nothing": "",
    "129 characters": "quiet lamps behind " * 6 + "and 15 letters!",
    "thousands of characters": "quiet lamps " * 300,
    "fifteen that are fourteen": "qzvkwjmxhtfbpe\u0301"[:-2] + "e\u0301",
    "a common word twice": "passwordpassword1",
    "one character": "a" * 20,
    "a walk on the keyboard": "qwertyuiopasdfgh",
    "a sequence": "abcdefghijklmnop",
    "digits in order": "1234567890123456",
    "a common word and digits": "Password1234567",
    "the login name": "alice.wonderland@example.com",
    "the name with signs": "!!Alice-Wonderland-2026!!",
    "parts of the name": "wonderland.alice.1234",
}


def choose(client: TestClient, password: str) -> tuple[int, str]:
    """Choose this password as Alice, invited anew; the status and the body of the answer."""
    database = Database(client)

    async def invite(db: AsyncSession) -> str:
        try:
            alice = await accounts.by_name(db, ALICE)
        except accounts.UnknownAccount:
            alice = await accounts.create(db, ALICE)
        return await self_service.invite(db, alice)

    database.rows("DELETE FROM throttle_buckets")  # it is not guessing that is tested here
    answer = client.post("/auth/activate", json={"token": database.run(invite), "password": password})
    return answer.status_code, answer.text


def hash_in(database: Database) -> str:
    return str(database.rows("SELECT password_hash FROM accounts")[0][0])


@pytest.mark.slow
def test_a_weak_password_is_refused_with_a_reason_that_does_not_repeat_it(client: TestClient) -> None:
    for kind, password in REFUSED.items():
        status, body = choose(client, password)

        assert (kind, status) == (kind, 422)
        assert json.loads(body)["errors"][0].keys() == {"pointer", "detail", "code"}
        assert not password or password not in body


@pytest.mark.usefixtures("real_hashing")
def test_a_password_is_stored_as_an_argon2id_hash_of_its_own(client: TestClient, database: Database) -> None:
    stored = []
    for _ in range(2):
        choose(client, "seven quiet lamps behind")
        stored.append(hash_in(database))

    assert all(text.startswith(TODAYS_COSTS) for text in stored)
    assert stored[0] != stored[1]


@pytest.mark.parametrize(
    ("setting", "value"), [("ARGON2_MEMORY_KIB", "19455"), ("ARGON2_ITERATIONS", "1"), ("ARGON2_PARALLELISM", "0")]
)
def test_hashing_cannot_be_set_to_cost_less(make_client: MakeClient, setting: str, value: str) -> None:
    with pytest.raises(SystemExit) as refused:
        make_client(**{setting: value})

    assert refused.value.code == 78
