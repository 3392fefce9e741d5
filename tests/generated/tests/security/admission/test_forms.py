"""Forms have so many fields and no more, and each is so long; a route that needs more says so."""

from typing import Annotated

import pytest
from fastapi import Body, FastAPI, Form, UploadFile
from starlette.testclient import TestClient

from app.security.access.identity import public
from app.security.admission.request_guard import accepts
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

KINDS = ("application/x-www-form-urlencoded", "multipart/form-data")
BLOB = "application/octet-stream"


def add_routes(app: FastAPI) -> None:
    @app.post("/forms", dependencies=[public, accepts(*KINDS)])
    async def form(text: Annotated[str, Form()]) -> int:
        return len(text)

    @app.post("/large", dependencies=[public, accepts(*KINDS)], form_limits={"max_fields": 30, "max_part_size": 70_000})
    async def large(text: Annotated[str, Form()]) -> int:
        return len(text)

    @app.post("/files", dependencies=[public, accepts(*KINDS)])
    async def files(file: list[UploadFile]) -> int:
        return len(file)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(build=lambda: assemble(add_routes))


def test_a_form_of_very_many_fields_is_refused_before_it_is_parsed(client: TestClient) -> None:
    answer = client.post("/forms", content=b"&" * 21_000, headers={"Content-Type": f"{KINDS[0]}; charset=utf-8"})

    assert (answer.status_code, answer.json()["detail"]) == (413, "The body has more than 20971 values.")


def test_a_form_in_parts_is_in_utf_8(client: TestClient) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="text"\r\n\r\na\r\n--B--\r\n'
    parameters = {"": 200, "; charset=utf-8": 200, '; CHARSET="UTF-8"; x=y': 200, "; charset=punycode": 415}
    parameters |= {"; charset=utf-8; charset=utf-7": 415, "; charset*=utf-8''punycode": 415, "; charset =utf-7": 415}

    for more, status in parameters.items():
        headers = {"Content-Type": f"multipart/form-data; boundary=B{more}"}
        assert client.post("/forms", content=body, headers=headers).status_code == status, more


# The name of a field counts with it.
@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize(
    ("path", "length", "more", "status"),
    [
        ("/forms", 65_532, 19, 200),
        ("/forms", 65_537, 0, 400),
        ("/forms", 1, 20, 400),
        ("/large", 69_996, 29, 200),
        ("/large", 1, 30, 400),
    ],
)
def test_a_form_has_so_many_fields_of_such_a_length(
    client: TestClient, path: str, length: int, more: int, status: int, in_parts: bool
) -> None:
    fields = {"text": "a" * length} | {f"field{number}": "" for number in range(more)}
    sent = {"files": {name: (None, text) for name, text in fields.items()}} if in_parts else {"data": fields}

    answer = client.post(path, **sent)  # type: ignore[arg-type]

    assert answer.status_code == status
    assert status == 200 or answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("files", "status"), [(20, 200), (21, 400)])
def test_a_form_has_so_many_files(client: TestClient, files: int, status: int) -> None:
    sent = [("file", (f"{number}.txt", b"x")) for number in range(files)]

    assert client.post("/files", files=sent).status_code == status


def test_the_media_type_of_a_body_is_accepted_beside_json(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/blobs", dependencies=[public])
        async def blobs(blob: Annotated[bytes, Body(media_type="application/octet-stream")]) -> int:
            return len(blob)

    client = make_client(build=lambda: assemble(add))
    sent = {kind: client.post("/blobs", content=b"abc", headers={"Content-Type": kind}) for kind in (BLOB, "text/csv")}

    assert {kind: answer.status_code for kind, answer in sent.items()} == {BLOB: 200, "text/csv": 415}
