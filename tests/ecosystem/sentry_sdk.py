"""sentry-sdk | one line | `sentry_sdk.init(max_request_body_size="never", include_local_variables=False)`"""

import sentry_sdk
from fastapi import FastAPI
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

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


def test_no_credential_is_sent(make_client: MakeClient, as_caller: AsCaller) -> None:
    sentry_sdk.init(
        dsn="https://key@example.com/1",
        transport=Kept(),
        traces_sample_rate=1.0,
        max_request_body_size="never",
        include_local_variables=False,
    )
    client = make_client(build=lambda: assemble(add))
    caller = as_caller(client=client)
    caller.get("/notes")
    client.post("/auth/token", data={"grant_type": "password", "username": "a", "password": "a secret password"})
    assert caller.get("/crash").status_code == 500

    sentry_sdk.flush()
    sentry_sdk.init()
    sent = b"".join(SENT).decode()
    credential = (caller.headers.get("authorization") or caller.headers["x-api-key"]).split()[-1]
    assert "broken on purpose" in sent
    assert credential not in sent
    assert "a secret password" not in sent
