"""Findings about self-telemetry elsewhere, each a test that this room passes.

Those that need the whole product live with its tests; these need a tracer, an exporter and a collector.
"""

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from broadaxe.telemetry import names as T
from broadaxe.telemetry.context import TraceContext, parse_traceparent
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.vocabulary import MetricKind
from broadaxe.testkit.ports import closed_port
from tests.telemetry.conftest import conserved, make_telemetry, running

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_g01_callers_trace_continues_into_the_server_span(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        place = telemetry.tracer.adopt(parse_traceparent(CALLER))
        telemetry.tracer.start(T.rpc_span("AdminService", "TriggerWorkflowRun"), place).end()
        assert await telemetry.flush(30)
    span = receiver.spans[0]
    assert (span.trace_id, span.parent_id) == (CALLER[3:35], CALLER[36:52])


async def test_g04_spans_have_kinds_links_and_scope(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        flush = telemetry.tracer.start(T.SPAN_FLUSH)
        telemetry.tracer.start(T.rpc_span("A", "B")).end()
        telemetry.tracer.start(T.db_span("INSERT", "task"), flush).end()
        telemetry.tracer.emit(T.SPAN_COMMIT_WAIT, telemetry.tracer.new_root(), 1, 2, links=(flush.context,))
        telemetry.tracer.start(T.SPAN_SEND).end()
        telemetry.tracer.start(T.SPAN_BUS_MESSAGE).end()
        flush.end()
        assert await telemetry.flush(30)
    kinds = {span.name.removeprefix("hatchet.run/"): span.kind for span in receiver.spans}
    assert kinds == {
        "A/B": "SERVER",
        "INSERT task": "CLIENT",
        "commit-wait": "INTERNAL",
        "send": "PRODUCER",
        "bus-message": "CONSUMER",
        "flush": "INTERNAL",
    }
    assert {span.scope for span in receiver.spans} == {"broadaxe"}
    assert sum(len(span.links) for span in receiver.spans) == 1


async def test_g06_callers_refusal_is_respected(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        place = telemetry.tracer.adopt(parse_traceparent(CALLER[:-1] + "0"))
        telemetry.tracer.start(T.rpc_span("A", "B"), place).end()
        assert telemetry.stats().created == 0


async def test_g07_last_spans_before_exit_arrive(receiver: Receiver) -> None:
    program = """
import asyncio, sys
from broadaxe.clock import SystemClock, SystemIds
from broadaxe.telemetry import names as T
from broadaxe.telemetry.runtime import Telemetry, TelemetryOptions

async def main():
    options = TelemetryOptions(collector_url=sys.argv[1], insecure=True)
    telemetry = Telemetry(options, SystemClock(), SystemIds())
    await telemetry.start()
    telemetry.tracer.start(T.SPAN_MIGRATE).end()
    await telemetry.shutdown(30)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, receiver.target)
    assert await process.wait() == 0
    assert len(receiver.spans) == 1


async def test_g08_two_replicas_can_be_told_apart(receiver: Receiver) -> None:
    from broadaxe.clock import SystemClock, SystemIds
    from broadaxe.telemetry.runtime import Telemetry, TelemetryOptions

    options = TelemetryOptions(collector_url=receiver.target, insecure=True)
    replicas = [Telemetry(options, SystemClock(), SystemIds()) for _ in range(2)]
    assert replicas[0].resource["service.instance.id"] != replicas[1].resource["service.instance.id"]
    assert replicas[0].resource["service.version"]


async def test_g09_metrics_disabled_sends_none_and_enabled_has_what_operators_need(
    receiver: Receiver,
) -> None:
    telemetry = make_telemetry(receiver.target)
    await telemetry.start()
    telemetry.metrics.record(T.METRIC_RPC_SERVER_DURATION, 0.1)
    await telemetry.shutdown(30)
    assert not receiver.metrics
    kinds = {metric.name: metric.kind for metric in T.METRICS}
    assert kinds["hatchet.tasks.finished"] is MetricKind.COUNTER
    assert kinds["hatchet.queue.wait"] is kinds["hatchet.scheduling.latency"] is MetricKind.HISTOGRAM


async def test_g10_status_is_error_only_with_a_type(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        for status, error_type in ((404, None), (500, "500")):
            span = telemetry.tracer.start(T.http_span("GET", "/api/v1/meta"))
            span.set(T.ATTR_HTTP_RESPONSE_STATUS_CODE, status)
            span.end(error_type=error_type)
        assert await telemetry.flush(30)
    shown = [(span.attributes["http.response.status_code"], span.error) for span in receiver.spans]
    assert shown == [(404, False), (500, True)]


async def test_g11_durations_are_measured_in_seconds(receiver: Receiver) -> None:
    telemetry = make_telemetry(receiver.target, metrics_enabled=True)
    await telemetry.start()
    telemetry.metrics.record(T.METRIC_DB_CLIENT_DURATION, 0.004)
    await telemetry.shutdown(30)
    (metric,) = [
        metric
        for scope in receiver.metrics[0].resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.name == "db.client.operation.duration"
    ]
    assert metric.unit == "s"
    assert metric.histogram.data_points[0].sum == pytest.approx(0.004)


def test_g12_every_name_is_listed_in_the_docs() -> None:
    page = PAGE.read_text()
    for one in (*T.SPANS, *T.EVENTS, *T.ATTRS, *T.METRICS, *T.LABELS):
        assert f"`{one.name}`" in page, one.name


async def test_g13_losses_are_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    telemetry = make_telemetry(
        f"127.0.0.1:{closed_port()}", prometheus_enabled=True, prometheus_address="127.0.0.1:0"
    )
    await telemetry.start()
    place = TraceContext(b"\x01" * 16, b"\x02" * 8, True)
    telemetry.tracer.emit(T.SPAN_FLUSH, place, 1, 2)
    await telemetry.shutdown(2)
    assert conserved(telemetry)
    lost = sum(telemetry.stats().dropped.values())
    assert lost == 1
    assert "1 of 1 spans were not exported" in caplog.text
    assert "hatchet_telemetry_spans_dropped_total" in telemetry.scrape().body.decode()
