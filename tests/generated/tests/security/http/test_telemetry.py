"""What a provider of OpenTelemetry, which any library may have set for the process, is told of a request."""

from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace

from app.security.access.identity import public
from tests.security.build_app import assemble, caller_of


class Provider(trace.TracerProvider):
    """Keeps what a span was begun with."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def get_tracer(self, *arguments: Any, **options: Any) -> trace.Tracer:
        provider = self

        class Tracer(trace.NoOpTracer):
            def start_span(self, name: str, *arguments: Any, **options: Any) -> trace.Span:
                provider.told.append(options.get("attributes"))
                return super().start_span(name)

        return Tracer()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The one of this process, for the time of a test."""
    found = Provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", found)
    assert trace.get_tracer_provider() is found
    return found


def test_telemetry_is_off_by_default(provider: Provider) -> None:
    assert caller_of(assemble()).get("/health/live?code=secret").status_code == 200

    assert provider.told == []


def app_with_one_below() -> FastAPI:
    def add(app: FastAPI) -> None:
        below = FastAPI(openapi_url=None)
        below.get("/calm", dependencies=[public])(calm)
        app.mount("/below", below)

    return assemble(add)


async def calm() -> None: ...


def test_a_variable_switches_fastapi_telemetry_on(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")

    assert caller_of(app_with_one_below()).get("/below/calm?code=secret").status_code == 200

    assert provider.told[0]["url.query"] == "code=secret"
