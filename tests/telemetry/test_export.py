"""What the page promises about export, against a real gRPC collector of ours."""

import pytest

from broadaxe.telemetry import names as T
from broadaxe.telemetry.conformance import metric_violations, span_violations, trace_violations
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.receiver import Receiver
from broadaxe.telemetry.runtime import Telemetry, Tuning
from tests.telemetry.conftest import QUICK, MakeReceiver, conserved, make_telemetry, running


def one_run(telemetry: Telemetry, parent: TraceContext | None = None) -> None:
    tracer = telemetry.tracer
    run = tracer.start(T.SPAN_RUN, parent)
    run.set(T.ATTR_WORKFLOW_NAME, "w")
    flush = tracer.start(T.SPAN_FLUSH, run)
    statement = tracer.start(T.db_span("INSERT", "task"), flush)
    statement.set(T.ATTR_DB_SYSTEM_NAME, "postgresql")
    statement.end()
    flush.end()
    run.end()


async def test_export_spans_arrive_whole_and_declared(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        for _ in range(10):
            one_run(telemetry)
        assert await telemetry.flush(30)
        assert telemetry.stats().exported == 30
    assert len(receiver.spans) == 30
    assert span_violations(receiver.spans) == []
    assert trace_violations(receiver.spans) == []
    assert {span.scope for span in receiver.spans} == {"broadaxe"}


async def test_export_without_flush_happens_by_itself(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        one_run(telemetry)
        assert await receiver.wait_for(lambda: len(receiver.spans) == 3, 30)


async def test_export_spans_before_start_are_kept(receiver: Receiver) -> None:
    telemetry = make_telemetry(receiver.target)
    one_run(telemetry)
    async with running(telemetry):
        assert await telemetry.flush(30)
    assert len(receiver.spans) == 3


async def test_export_empty_url_is_off() -> None:
    telemetry = make_telemetry("")
    async with running(telemetry):
        one_run(telemetry)
        assert not telemetry.tracer.enabled
        assert telemetry.stats().created == 0
        assert await telemetry.flush(1)


async def test_export_resource_has_page_attributes(receiver: Receiver) -> None:
    telemetry = make_telemetry(receiver.target, k8s_pod_name="engine-0", k8s_namespace="prod")
    async with running(telemetry):
        one_run(telemetry)
        assert await telemetry.flush(30)
    resource = receiver.spans[0].resource
    assert resource["service.name"] == "server"
    assert resource["library.language"] == "python"
    assert (resource["k8s.pod.name"], resource["k8s.namespace.name"]) == ("engine-0", "prod")
    assert resource["service.instance.id"]


async def test_export_authorization_header_is_exact(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target, auth="Bearer  a b=c, d ")) as telemetry:
        one_run(telemetry)
        assert await telemetry.flush(30)
    assert receiver.headers[0]["authorization"] == "Bearer  a b=c, d "


async def test_export_authorization_empty_sends_no_header(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        one_run(telemetry)
        assert await telemetry.flush(30)
    assert "authorization" not in receiver.headers[0]


async def test_export_gzip_arrives(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target, tuning=Tuning(delay=0.01, gzip=True))) as telemetry:
        one_run(telemetry)
        assert await telemetry.flush(30)
    assert len(receiver.spans) == 3


async def test_export_shutdown_sends_the_last_spans(receiver: Receiver) -> None:
    telemetry = make_telemetry(receiver.target, tuning=Tuning(delay=3600))
    await telemetry.start()
    one_run(telemetry)
    await telemetry.shutdown(30)
    assert len(receiver.spans) == 3
    one_run(telemetry)
    assert telemetry.stats().dropped["shutdown"] == 3
    assert conserved(telemetry)


async def test_export_batches_are_bounded(make_receiver: MakeReceiver) -> None:
    sizes: list[int] = []
    receiver = await make_receiver(on_spans=lambda spans: sizes.append(len(spans)))
    tuning = Tuning(delay=0.01, batch_size=7, queue_size=1000)
    async with running(make_telemetry(receiver.target, tuning=tuning)) as telemetry:
        for _ in range(20):
            one_run(telemetry)
        assert await telemetry.flush(30)
    assert sum(sizes) == 60
    assert max(sizes) == 7


async def test_confirmed_before_advances_past_exported_spans(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        before = telemetry.confirmed_before()
        one_run(telemetry)
        pending = telemetry.confirmed_before()
        assert before <= pending <= telemetry.confirmed_before()
        assert await telemetry.flush(30)
        assert telemetry.confirmed_before() > max(span.end_ns for span in receiver.spans)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("callers", ["none", "sampled", "mixed"])
async def test_sampling_exact_share_of_whole_traces(receiver: Receiver, ratio: float, callers: str) -> None:
    count = 1200
    telemetry = make_telemetry(receiver.target, ratio=ratio)
    async with running(telemetry):
        asked = 0
        for number in range(count):
            caller = None
            if callers != "none":
                sampled = callers == "sampled" or number % 2 == 0
                caller = TraceContext(telemetry.tracer.new_root().trace_id, b"\x07" * 8, sampled)
            asked += caller is None or caller.sampled
            one_run(telemetry, telemetry.tracer.adopt(caller))
        assert await telemetry.flush(30)
    traces = {span.trace_id for span in receiver.spans}
    sigma = (asked * ratio * (1 - ratio)) ** 0.5
    assert abs(len(traces) - asked * ratio) <= 3 * sigma
    assert len(receiver.spans) == 3 * len(traces)


async def test_metrics_over_otlp_only_when_enabled(receiver: Receiver) -> None:
    async with running(make_telemetry(receiver.target)) as telemetry:
        one_run(telemetry)
        assert await telemetry.flush(30)
        assert not telemetry.metrics.enabled
    assert not receiver.metrics


async def test_metrics_over_otlp_are_declared_and_in_the_contract(receiver: Receiver) -> None:
    tuning = Tuning(delay=0.01, metric_interval=0.05)
    telemetry = make_telemetry(receiver.target, metrics_enabled=True, auth="Bearer m", tuning=tuning)
    async with running(telemetry):
        telemetry.metrics.add(T.METRIC_TASKS_FINISHED, 2, ((T.LABEL_OUTCOME, "completed"),))
        telemetry.metrics.record(T.METRIC_QUEUE_WAIT, 0.2)
        assert await receiver.wait_for(lambda: len(receiver.metrics) >= 1, 30)
    request = receiver.metrics[0]
    assert metric_violations(request) == []
    names = {
        metric.name
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"hatchet.tasks.finished", "hatchet.queue.wait", "hatchet.telemetry.spans.dropped"} <= names
    assert all(header["authorization"] == "Bearer m" for header in receiver.headers)


async def test_metrics_last_state_is_sent_at_shutdown(receiver: Receiver) -> None:
    telemetry = make_telemetry(receiver.target, metrics_enabled=True, tuning=QUICK)
    await telemetry.start()
    telemetry.metrics.add(T.METRIC_TASKS_CREATED, 5)
    await telemetry.shutdown(30)
    assert len(receiver.metrics) == 1
