"""Ambiguous JSON is refused in every form, on every kind of route and wherever it is read."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Request
from fastapi.sse import EventSourceResponse
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.compose import fastapi_options
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

JSON = {"Content-Type": "application/json"}
OPEN = [public]
Anything = Annotated[Any, Body()]


async def parsed(body: Anything) -> Any:
    return body


async def by_hand(request: Request) -> Any:
    return await request.json()


async def streamed(body: Anything) -> AsyncIterator[Any]:
    yield body


async def own_dependency(body: Anything) -> Any:
    return body


def add_paths(app: FastAPI) -> None:
    router, below, deeper = APIRouter(prefix="/router"), FastAPI(**fastapi_options()), APIRouter()
    app.post("/parsed", dependencies=OPEN)(parsed)
    app.post("/by-hand", dependencies=OPEN)(by_hand)
    app.post("/dependency-first", dependencies=[Depends(own_dependency), public])(parsed)
    app.post("/limited", dependencies=OPEN, max_body_size=1000)(parsed)
    app.post("/streamed", dependencies=OPEN, response_class=EventSourceResponse)(streamed)
    router.post("/parsed", dependencies=OPEN)(parsed)
    below.post("/parsed", dependencies=OPEN)(parsed)
    deeper.post("/parsed", dependencies=OPEN)(parsed)
    below.mount("/deeper", deeper)
    app.include_router(router)
    app.mount("/below", below)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_paths))


ALONE = ["/parsed", "/by-hand", "/dependency-first", "/limited", "/streamed"]


@pytest.mark.parametrize(
    "body",
    ['{"canary": 1, "canary": 1}', '{"a": [{"b": {"c": 1, "c": 2}}]}', '{"a": 1, "\\u0061": 2}', '{"": 1, "": 2}'],
)
def test_it_is_refused_wherever_and_however_it_stands(client: TestClient, body: str) -> None:
    answer = client.post("/parsed", content=body, headers=JSON)

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "twice" in answer.json()["detail"]
    assert "canary" not in answer.text


@pytest.mark.parametrize("path", [*ALONE, "/router/parsed", "/below/parsed", "/below/deeper/parsed"])
@pytest.mark.parametrize(
    "body", [rb'{"a": "\ud800"}', rb'{"\uDFFF": 1}', rb'[{"a": [{"b": "x\udc00y"}]}]', b'{"a": "\xed\xa0\x80"}']
)
def test_an_unpaired_surrogate_is_refused_on_every_kind_of_route(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers=JSON)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


class Unhappy(Exception):
    pass


async def unhappy() -> None:
    raise Unhappy


async def on_unhappy(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse(await request.json())


def add_unhappy(app: FastAPI) -> None:
    router, below = APIRouter(prefix="/router"), FastAPI(**fastapi_options())
    for place in (app, router, below):
        place.post("/unhappy", dependencies=OPEN)(unhappy)
    app.include_router(router)
    app.mount("/below", below)
    app.add_exception_handler(Unhappy, on_unhappy)
    below.add_exception_handler(Unhappy, on_unhappy)


@pytest.mark.parametrize("path", ["/unhappy", "/router/unhappy", "/below/unhappy"])
def test_an_exception_handler_cannot_read_it_either(make_client: MakeClient, path: str) -> None:
    client = make_client(build=lambda: assemble(add_unhappy))

    assert client.post(path, content='{"a": 1}', headers=JSON).json() == {"a": 1}
    assert client.post(path, content='{"a": 1, "a": 2}', headers=JSON).status_code == 400


@pytest.mark.parametrize(("levels", "status"), [(100, 200), (101, 400), (300, 400), (900, 400), (5000, 400)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_body_is_nested_no_deeper_than_a_response_can_be(
    client: TestClient, levels: int, status: int, opening: str, closing: str
) -> None:
    body = opening * levels + "1" + closing * levels

    assert client.post("/parsed", content=body, headers=JSON).status_code == status


def test_many_objects_beside_each_other_are_not_deep(client: TestClient) -> None:
    assert client.post("/parsed", content=f"[{','.join(['{}'] * 500)}]", headers=JSON).status_code == 200


def test_a_surrogate_pair_is_accepted(client: TestClient) -> None:
    body = rb'{"a": "\ud83d\ude00", "\ud83d\ude00": "\u00e4"}'

    assert client.post("/parsed", content=body, headers=JSON).json() == {"a": "😀", "😀": "ä"}


@pytest.mark.parametrize("body", ['[{"a": 1}, {"a": 1}]', '{"a": {"a": 1}}', '{"a": 1, "A": 1}', "[]", "1", "null"])
def test_the_same_name_in_another_object_is_no_repetition(client: TestClient, body: str) -> None:
    assert client.post("/parsed", content=body, headers=JSON).text == body.replace(" ", "")


def test_a_large_body_that_is_no_json_is_refused_like_a_small_one(client: TestClient) -> None:
    bodies = ["[" * 20_000 + " " * 80_000, "[" + "1,     " * 15_000, '{"a": 1, "a": 1, "b": "' + "b" * 100_000 + '"}']

    assert {client.post("/parsed", content=body, headers=JSON).status_code for body in bodies} == {400}


@pytest.mark.parametrize(("number", "status"), [(1000, 200), (1001, 413)])
def test_an_object_of_very_many_members_is_refused_before_a_model_lists_them(
    client: TestClient, number: int, status: int
) -> None:
    body = "{" + ", ".join(f'"{member}": 1' for member in range(number)) + "}"

    assert client.post("/parsed", content=body, headers=JSON).status_code == status


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e309"])
def test_what_is_no_number_is_refused(client: TestClient, number: str) -> None:
    """NaN passes each comparison of a route, such as `amount > balance`."""
    response = client.post("/parsed", content=f'{{"amount": {number}}}', headers=JSON)

    expected = f"The body holds {number}, which is no finite number."
    assert (response.status_code, response.json()["detail"]) == (400, expected)


def test_no_depth_hides_a_repeated_member(client: TestClient) -> None:
    """Where the check gives up, FastAPI's own parser might not."""
    depths = range(600, 1000, 5)
    bodies = [f'{"[" * depth}{{"a": 1, "a": 2}}{"]" * depth}' for depth in depths]

    assert {client.post("/by-hand", content=body, headers=JSON).status_code for body in bodies} == {400}
