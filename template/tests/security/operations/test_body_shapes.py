"""What a body may hold is bounded: always in our routes, and said of yours."""

from typing import Annotated

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.access.policy import hooks_of
from app.security.operations.body_shapes import loose_bodies
from tests.security.build_app import assemble
from tests.security.fixtures import Database, MakeClient
from tests.security.sample_resource import add_things


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=10)]
    number: int = 0


class Loose(BaseModel):
    text: Annotated[str, Field(max_length=10)]


class Endless(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    note: str | None = None


def app_with(body: type[BaseModel]) -> FastAPI:
    def add(app: FastAPI) -> None:
        add_things(app)

        @app.post("/yours", dependencies=[public])
        async def yours(body: body) -> None: ...  # type: ignore[valid-type]

    return assemble(add)


def test_no_body_of_ours_takes_more_than_it_names(make_client: MakeClient) -> None:
    app = make_client(build=lambda: app_with(Strict)).app

    assert list(loose_bodies(app.openapi())) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (Loose, ['Loose takes members that it does not name: model_config = ConfigDict(extra="forbid")']),
        (Endless, [f"Endless.{name} has no longest length: Field(max_length=…)" for name in ("text", "note")]),
    ],
)
def test_doctor_says_which_of_yours_does(make_client: MakeClient, body: type[BaseModel], said: list[str]) -> None:
    client: TestClient = make_client(build=lambda: app_with(body))
    app: FastAPI = client.app  # type: ignore[assignment]

    async def hints(db: object) -> list[str]:
        found = [await look(db, app.state.policies) for look in hooks_of(app).hints]  # type: ignore[arg-type]
        return [hint for some in found for hint in some]

    assert set(said) <= set(Database(client).run(hints))
