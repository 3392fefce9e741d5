"""prometheus-fastapi-instrumentator | one line | `.instrument(app).expose(app, dependencies=[public])` before
`secure(app)`; refusals around it are not counted: see [metrics](how-to/metrics.md)
"""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

from app.security.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

PACKAGES = ["prometheus-fastapi-instrumentator"]


def add(app: FastAPI) -> None:
    app.get("/status", dependencies=[public])(status)
    Instrumentator(registry=CollectorRegistry()).instrument(app).expose(app, dependencies=[public])


async def status() -> str:
    return "ok"


def test_requests_are_counted(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add))

    assert client.get("/status").status_code == 200
    assert 'handler="/status",method="GET"' in client.get("/metrics").text
