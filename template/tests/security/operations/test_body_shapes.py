"""Mass assignment: the template's request bodies are strict and bounded, and doctor names yours that are not."""

from decimal import Decimal
from typing import Annotated

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from app.security.access.identity import public
from app.security.operations.doctor import loose_bodies
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.sample_resource import add_things


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=10)]
    number: int = 0
    price: Decimal = Decimal(1)


class Loose(BaseModel):
    text: Annotated[str, Field(max_length=10)]


class Unbounded(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    note: str | None = None


def app_with(body: type[BaseModel]) -> FastAPI:
    def add(app: FastAPI) -> None:
        add_things(app)

        @app.post("/yours", dependencies=[public])
        async def yours(body: body) -> None: ...  # type: ignore[valid-type]

    return assemble(add)


def test_no_body_of_the_template_accepts_unknown_members_or_unbounded_strings(make_client: MakeClient) -> None:
    app = make_client(build=lambda: app_with(Strict)).app

    assert list(loose_bodies(app.openapi())) == []  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (Loose, ['Loose accepts unknown members: add model_config = ConfigDict(extra="forbid")']),
        (Unbounded, [f"Unbounded.{name} has no max_length: add Field(max_length=…)" for name in ("text", "note")]),
    ],
)
def test_your_bodies_that_do_are_named(make_client: MakeClient, body: type[BaseModel], expected: list[str]) -> None:
    app = make_client(build=lambda: app_with(body)).app

    assert list(loose_bodies(app.openapi())) == expected  # type: ignore[attr-defined]
