"""sentry-sdk | as is | request bodies and local variables stay here"""

import pytest
import sentry_sdk
from fastapi import FastAPI
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from app.security.authentication.passwords import PasswordHasher
from app.security.identity import public
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

PACKAGES = ["sentry-sdk"]
SENT: list[bytes] = []


class Kept(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        SENT.append(envelope.serialize())


async def crash() -> None:
    raise RuntimeError("broken on purpose")


def add(app: FastAPI) -> None:
    from app.api import notes

    app.include_router(notes.router)
    app.get("/crash", dependencies=[public])(crash)


async def crash_of_login(*_: object) -> None:
    raise RuntimeError("broken login")


def test_no_credential_is_sent(make_client: MakeClient, as_caller: AsCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    sentry_sdk.init(dsn="https://key@example.com/1", transport=Kept(), traces_sample_rate=1.0)
    client = make_client(build=lambda: assemble(add))
    caller = as_caller(client=client)
    caller.get("/notes")
    monkeypatch.setattr(PasswordHasher, "verify", crash_of_login)
    client.post("/auth/token", data={"grant_type": "password", "username": "a", "password": "a secret password"})
    assert caller.get("/crash").status_code == 500

    sentry_sdk.flush()
    sentry_sdk.init()
    sent = b"".join(SENT).decode()
    credential = (caller.headers.get("authorization") or caller.headers["x-api-key"]).split()[-1]
    assert "broken on purpose" in sent
    assert "broken login" in sent
    assert credential not in sent
    assert "a secret password" not in sent
