"""What one route declares holds for it alone."""

from fastapi import FastAPI

from app.security.access.identity import public
from app.security.admission.request_guard import accepts
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient


def test_a_media_type_is_the_same_in_any_case(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/files", dependencies=[public, accepts("Text/CSV")])
        async def upload() -> None: ...

    client = make_client(build=lambda: assemble(add))

    for sent in ("text/csv", "Text/CSV", "TEXT/CSV; charset=utf-8"):
        assert client.post("/files", content=b"x", headers={"Content-Type": sent}).status_code == 200


def test_what_one_route_was_allowed_no_earlier_one_is(make_client: MakeClient) -> None:
    def add(app: FastAPI) -> None:
        @app.post("/files/fixed", dependencies=[public])
        async def fixed(body: dict[str, int]) -> None: ...

        @app.post("/files/{name}", dependencies=[public, accepts("text/csv")])
        async def upload(name: str) -> None: ...

    client = make_client(build=lambda: assemble(add))

    assert client.post("/files/fixed", content=b"x", headers={"Content-Type": "text/csv"}).status_code == 415
    assert client.post("/files/fixed", json={"a": 1}).status_code == 200
    assert client.post("/files/other", content=b"x", headers={"Content-Type": "text/csv"}).status_code == 200
