"""Sends a span and a metric to the collector as the servers would, and says in plain words what happened."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from broadaxe.clock import Clock, Ids
from broadaxe.telemetry import names as T
from broadaxe.telemetry.attempt import METRICS_METHOD, TRACES_METHOD, Attempt, ExportError
from broadaxe.telemetry.collector import CollectorClient
from broadaxe.telemetry.encode import Envelope
from broadaxe.telemetry.metrics import Metrics
from broadaxe.telemetry.options import TelemetryOptions
from broadaxe.telemetry.reach import Outcome, Told, look
from broadaxe.telemetry.resource import build_resource, product_version
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.telemetry.vocabulary import AttrValue

_SILENCE = "timed out before receiving SETTINGS"
"""What gRPC says of a server that takes a connection and never speaks."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What became of both, and where to look for the span."""

    trace_id: str
    service_name: str
    span: Told
    metric: Told


async def send_test(options: TelemetryOptions, clock: Clock, ids: Ids, within: float) -> SelfTest:
    """Sends both, each for at most `within` seconds and without a retry. Sampling does not apply."""
    resource, version = build_resource(options, ids), product_version()
    ended: list[bytes] = []
    tracer = Tracer(clock, ids, ended.append, Sampler(1.0))
    root = tracer.new_root()
    span = tracer.start(T.SPAN_DOCTOR, root)
    span.set(T.ATTR_ROLE, options.role)
    span.end()
    traces = Envelope(resource, T.SCOPE, version, T.SCHEMA_URL).wrap(ended)
    client = CollectorClient(options, clock, ids)
    client.hurry()  # one call, no retry: what is told is what happened
    try:
        sent = await _send(client, options, TRACES_METHOD, traces, within)
        measured = await _send(client, options, METRICS_METHOD, _metric(resource, version, clock), within)
    finally:
        await client.close()
    return SelfTest(root.trace_id.hex(), options.service_name, sent, measured)


def _metric(resource: Mapping[str, AttrValue], version: str, clock: Clock) -> bytes:
    """One value of the one metric that exists for this."""
    metrics = Metrics(resource, version, enabled=True, clock=clock)
    metrics.observe(T.METRIC_DOCTOR, lambda: [(1, ())])
    data = metrics.collect()
    if data is None:
        raise RuntimeError("enabled metrics gave no data")
    request = encode_metrics(data)
    for group in request.resource_metrics:
        for scope in group.scope_metrics:
            kept = [metric for metric in scope.metrics if metric.name == T.METRIC_DOCTOR.name]
            del scope.metrics[:]
            scope.metrics.extend(kept)
    return request.SerializeToString()


async def _send(
    client: CollectorClient, options: TelemetryOptions, method: str, request: bytes, within: float
) -> Told:
    what = "span" if method == TRACES_METHOD else "metric"
    try:
        answer = await client.export(method, request, Attempt(), within=within)
    except ExportError as error:
        return await _failure(options, error, within, what)
    rejected, why = _rejected(method, answer)
    if rejected:
        return Told(
            Outcome.REJECTED, f"the collector answered, but rejected the {what}: {why or 'no reason'}"
        )
    return Told(Outcome.TAKEN, f"the collector took the test {what}" + (f", and says: {why}" if why else ""))


def _rejected(method: str, answer: bytes) -> tuple[int, str]:
    if method == TRACES_METHOD:
        spans = ExportTraceServiceResponse.FromString(answer).partial_success
        return int(spans.rejected_spans), spans.error_message
    points = ExportMetricsServiceResponse.FromString(answer).partial_success
    return int(points.rejected_data_points), points.error_message


async def _failure(options: TelemetryOptions, error: ExportError, within: float, what: str) -> Told:
    """The sentence for a failed call; where the status does not say it, the connection is looked at."""
    target = options.target
    code, details = error.code, error.details
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        sent = (
            "the Authorization header of SERVER_OTEL_COLLECTOR_AUTH"
            if options.auth
            else "no Authorization header"
        )
        hint = "check its value" if options.auth else "set SERVER_OTEL_COLLECTOR_AUTH"
        return Told(Outcome.AUTH_REFUSED, f"{target} refused the {what}: {code.name}; it got {sent}: {hint}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Told(
            Outcome.NOT_OTLP,
            f"{target} speaks gRPC, but takes no {what}s over OTLP ({code.name}): has it a pipeline "
            "for them?",
        )
    if "http1" in details or "http status code" in details.lower():
        return Told(
            Outcome.NOT_OTLP,
            f"{target} speaks HTTP, but not gRPC: is it the port for OTLP over HTTP (4318)? The one "
            "for gRPC is usually 4317",
        )
    if code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        None,
    ):
        found = await look(options, within)
        if found is not None:
            return found
    # gRPC gives up a connection on which nothing is said before the time of the call is over.
    silent = code is grpc.StatusCode.UNAVAILABLE and _SILENCE in details
    if silent or code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Told(Outcome.SLOW, f"{target} took the connection, but gave no answer within {within:g} s")
    return Told(Outcome.REFUSED, f"{target} refused the {what}: {error}")
