"""opentelemetry-instrumentation-fastapi | as is | `FastAPIInstrumentor.instrument_app(app)` after `secure(app)`;
spans hold the path, never a header or a body
"""

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.security.build_app import assemble
from tests.security.callers import AsCaller
from tests.security.fixtures import MakeClient

PACKAGES = ["opentelemetry-instrumentation-fastapi", "opentelemetry-sdk"]
SPANS = InMemorySpanExporter()


def build() -> FastAPI:
    from app.api import notes

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    app = assemble(lambda app: app.include_router(notes.router))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    return app


def test_spans_hold_no_credential(make_client: MakeClient, as_caller: AsCaller) -> None:
    caller = as_caller(client=make_client(build=build))

    assert caller.get("/notes").status_code == 200
    spans = "".join(span.to_json() for span in SPANS.get_finished_spans())
    assert "/notes" in spans
    credential = (caller.headers.get("authorization") or caller.headers["x-api-key"]).split()[-1]
    assert credential not in spans
