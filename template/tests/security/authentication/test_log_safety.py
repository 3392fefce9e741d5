"""What is written down: one JSON object a line, from an allow-list of fields, and never a secret."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import Caller, public
from app.security.core.settings import in_production
from tests.security.build_app import assemble
from tests.security.captured_logs import Capture, written
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient
from tests.security.persons import Person, log_in, refresh

AsPerson = Callable[..., Person]
CANARY = "canary-2f7c1e"


def add_routes(app: FastAPI) -> None:
    @app.get("/failing/{name}", dependencies=[public])
    async def failing(name: str) -> None:
        raise RuntimeError("the recipe is in the cellar")

    @app.get("/number/{number}")
    async def number(number: int, caller: Caller) -> None: ...


@pytest.fixture(params=["production", pytest.param("development", marks=pytest.mark.slow)])
def client(request: pytest.FixtureRequest, make_client: MakeClient, environment: Callable[..., None]) -> TestClient:
    production = request.param == "production"
    environment(**PRODUCTION_ENVIRONMENT if production else {})
    return make_client(assemble(add_routes), production=production)


def use_everything(client: TestClient, text: str) -> list[Any]:
    """Put this text wherever a caller can put text."""
    headers = {"Authorization": f"Bearer {text}", "X-API-Key": text, "Cookie": f"session={text}", "User-Agent": "x"}
    form = {"grant_type": "password", "username": text, "password": text, "scope": "", text: text}
    return [
        client.get(f"/users/me?access_token={text}", headers=headers),
        client.get("/number/x", headers=headers, params={text: text}),
        client.get(f"/failing/{text}", headers=headers, params={"q": text}),
        client.get(f"/{text}"),
        client.request(text[:20], "/users/me"),
        client.post("/auth/token", data=form),
        client.post("/auth/token", data={"grant_type": text}),
        client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": f"rt_{text}"}),
        client.post("/auth/revoke", data={"token": text}),
        client.post("/auth/activate", json={"token": text, "password": text}),
        client.post("/auth/activate", json={"token": [text], "password": {text: text}, text: text}),
        client.post("/auth/activate", content=text, headers={"Content-Type": "application/json"}),
        client.post("/auth/activate", content=text, headers={"Content-Type": text}),
    ]


@pytest.mark.slow
def test_no_input_is_logged_or_echoed(client: TestClient, capsys: Capture) -> None:
    answers = use_everything(client, CANARY)

    output = written(capsys)
    if not in_production():  # its access lines show the path
        output = re.sub(r"^\S+ GET +/.*$", "", output, flags=re.MULTILINE)
    assert CANARY not in output
    assert [answer.url for answer in answers if CANARY in answer.text or CANARY in str(answer.headers)] == []
    assert {answer.status_code for answer in answers if answer.status_code >= 500} == {500}  # the failing route alone


def test_no_secret_of_a_person_or_of_the_service_is_logged(
    client: TestClient, as_person: AsPerson, capsys: Capture
) -> None:
    alice = as_person(client=client)
    first = alice.tokens
    second = refresh(alice, first["refresh_token"]).json()
    alice.post("/users/me/password", json={"current_password": "wrong staple", "new_password": "seven quiet lamps"})
    log_in(alice, alice.name, "nine loud ravens above")
    refresh(alice, first["refresh_token"])
    client.get("/failing/x", headers={"Authorization": f"Bearer {second['access_token']}"})

    output = written(capsys)
    secrets = [first["access_token"], first["refresh_token"], second["access_token"], second["refresh_token"]]
    secrets += ["wrong staple", "seven quiet lamps", "nine loud ravens", "argon2", alice.name]
    assert "authn_token_reuse" in output
    assert [secret for secret in secrets if secret in output] == []
