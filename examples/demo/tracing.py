"""Send this process's own spans to the demo's collector, as an application would to its own."""

import os

from hatchet_sdk.opentelemetry.instrumentor import HatchetInstrumentor
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def set_up(service_name: str) -> TracerProvider:
    """Instrument the SDK; spans go to the address in DEMO_COLLECTOR."""
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    exporter = OTLPSpanExporter(endpoint=os.environ["DEMO_COLLECTOR"], insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=200))
    HatchetInstrumentor(tracer_provider=provider, enable_hatchet_otel_collector=False).instrument()
    return provider
