"""A body is as long and in the encoding that it may be, whatever its headers say and however the bytes come."""

from typing import Any

import pytest
from fastapi import FastAPI

from app.security.access.identity import public
from app.security.admission.request_guard import accepts
from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient
from tests.security.raw_asgi import ask
from tests.security.sample_resource import client_of_things as client_of_things


def test_json_is_utf8(as_caller: AsCaller) -> None:
    caller = as_caller()
    title = '{"title": "Bröt"}'

    for charset, status in (("utf-8", 201), ("UTF-8", 201), ("utf-16", 415), ("latin-1", 415)):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        assert caller.post("/things", content=title.encode(), headers=headers).status_code == status


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_json_in_another_encoding_is_refused_with_any_header(as_caller: AsCaller, encoding: str) -> None:
    body = '{"title": "x"}'.encode(encoding)

    assert as_caller().post("/things", content=body, headers={"Content-Type": "application/json"}).status_code == 400


@pytest.mark.parametrize("value", ["[]", "0", '{"a":1}'])
def test_json_of_very_many_values_is_refused_before_it_is_read(as_caller: AsCaller, value: str) -> None:
    body = f'{{"title": "x", "more": [{",".join([value] * 21_000)}]}}'

    answer = as_caller().post("/things", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["detail"]) == (413, "The body has more than 20971 values.")


def test_a_small_body_may_hold_many_small_values(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/sums", dependencies=[public, accepts("application/json", max_bytes=1024)])
        async def add_up(numbers: list[int]) -> int:
            return sum(numbers)

    assert make_client(build=lambda: assemble(add)).post("/sums", json=[1] * 300).json() == 300


def test_long_prose_is_not_taken_for_many_values(as_caller: AsCaller) -> None:
    prose = "Well, this is a sentence as people write it, with a comma or two. " * 9_000

    assert as_caller().post("/things", json={"title": prose}).status_code == 422  # longer than the field


def test_the_encoding_of_json_is_checked_in_its_first_two_bytes(as_caller: AsCaller) -> None:
    caller = as_caller()
    body = '{"title": "x"}'.encode("utf-16-le")
    pieces = iter([body[:1], body[1:]])

    async def receive() -> Any:
        piece = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": len(piece) == 1}

    async def call() -> int:
        return await ask(caller, "/things/judged", receive, content_type="application/json")

    assert caller.portal is not None
    assert caller.portal.call(call) == 400


def test_a_body_that_goes_on_after_its_length_is_refused(as_caller: AsCaller) -> None:
    caller = as_caller()
    pieces = 0

    async def receive() -> Any:
        nonlocal pieces
        pieces += 1
        assert pieces < 100
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def call() -> int:
        return await ask(caller, "/things/judged", receive, content_type="application/json", content_length="9")

    assert caller.portal is not None
    assert caller.portal.call(call) == 413
