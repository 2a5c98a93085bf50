"""What is wrong with the self-telemetry of others (G1 to G13), each a test of the whole product here.

`test_findings.py` has what can be shown in the telemetry room alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.telemetry.context import attempt_span_id, run_span_id
from broadaxe.telemetry.names import TEMPLATES
from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.ports import free_port
from broadaxe.testkit.trace_assert import Forest
from tests.faults.wire import COMPLETED, Code, Refused
from tests.telemetry.stage import PREFIX, Stage, report, staged
from tests.telemetry.test_callers import fresh
from tests.telemetry.told import Told

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"
PER_SECOND = 1_000_000_000


@dataclass
class Product:
    """A server that was called over gRPC and HTTP and stopped at once, before its exporter's delay."""

    stage: Stage
    grpc_caller: str
    http_caller: str
    refusing_caller: str
    grpc_run: UUID
    http_run: UUID

    def named(self, name: str) -> list[ReceivedSpan]:
        return self.stage.collector.named(PREFIX + name)


@pytest.fixture(scope="module")
async def product(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    # Nothing is exported before the stop.
    env = {"OTEL_BSP_SCHEDULE_DELAY": "60000"}
    async with staged(databases, tmp_path_factory.mktemp("product"), **env) as stage:
        await stage.cluster.start("server")
        by_grpc, by_http, refusing = fresh(), fresh(), fresh("00")
        async with stage.caller() as caller, stage.caller(by_grpc) as traced, stage.caller(refusing) as no:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)
            grpc_run = await traced.start("flow")
            answer = await stage.rest(
                "POST",
                "/api/v1/stable/tenants/{tenant}/workflow-runs/trigger",
                json={"workflowName": "flow", "input": {}, "additionalMetadata": {}},
                headers={"traceparent": by_http},
            )
            http_run = UUID(answer.json()["run"]["metadata"]["id"])
            for run in (grpc_run, http_run, await no.start("flow")):
                await report(worker, await worker.start_of(run), COMPLETED, "{}")
            with pytest.raises(Refused) as refused:
                await caller.start("no-such-workflow")
            assert refused.value.code is Code.NOT_FOUND
            missing = await stage.rest("GET", f"/api/v1/stable/workflow-runs/{UUID(int=7)}")
            assert missing.status_code == 404
            await worker.die()
        await stage.stop_all()
        yield Product(stage, by_grpc, by_http, refusing, grpc_run, http_run)


def test_g01_callers_trace_continues_into_engine_and_api(product: Product) -> None:
    for traceparent, run, name in (
        (product.grpc_caller, product.grpc_run, "WorkflowService/TriggerWorkflow"),
        (product.http_caller, product.http_run, "POST /api/v1/stable/tenants/{tenant}/workflow-runs/trigger"),
    ):
        spans = product.stage.trace(traceparent[3:35])
        (own,) = [span for span in spans if span.name == PREFIX + "run"]
        assert (own.span_id, own.parent_id) == (run_span_id(run).hex(), traceparent[36:52])
        (call,) = [span for span in spans if span.name == PREFIX + name]
        assert call.parent_id == own.span_id


def test_g02_context_survives_every_buffered_hop(told: Told) -> None:
    """Twenty runs of twenty traces are written by shared commits; each keeps its own trace to the end."""
    stage, runs = told.stage, told.of("many_traces")
    forest = Forest(stage.collector.spans)
    index = {(span.trace_id, span.span_id): span for span in forest.spans}
    flushes = set()
    for run in runs:
        spans = stage.trace_of(run)
        own = {run_span_id(run).hex(), attempt_span_id(run, 0).hex()}
        waits = [span for span in spans if span.name == PREFIX + "commit-wait" and span.parent_id in own]
        here = {span.parent_id for span in spans if span.name == PREFIX + "flush"}
        waited = {wait.parent_id for wait in waits}
        assert waited | here == own, "its creation and its end were both committed"
        assert not waited & here, "the member that has the flush in its trace needs no other span"
        for wait in waits:
            (link,) = wait.links
            assert index[link].name == PREFIX + "flush"
            flushes.add(link)
    assert len(flushes) < 2 * len(runs), "no commit was shared: this shows nothing"


def test_g03_trigger_creation_scheduling_assignment_and_completion_are_one_trace(told: Told) -> None:
    (run,) = told.of("simple")
    names = {span.name.removeprefix(PREFIX) for span in told.stage.trace_of(run)}
    assert names >= {
        "WorkflowService/TriggerWorkflow", "INSERT task", "queue-wait", "assign", "send",
        "Dispatcher/SendStepActionEvent", "UPDATE task", "attempt", "deliver-result", "run",
    }  # fmt: skip


def test_g04_spans_have_links_kinds_conventions_and_a_versioned_scope(told: Told) -> None:
    spans = [span for scenario in ("simple", "retry") for span in told.spans(scenario)]
    assert {span.kind for span in spans} == {"INTERNAL", "SERVER", "CLIENT", "PRODUCER"}
    assert {span.scope for span in spans} == {"broadaxe"}
    for span in spans:
        if span.kind == "CLIENT":
            assert span.attributes["db.system.name"] == "postgresql"
        if span.kind == "SERVER":
            assert span.attributes["rpc.system"] == "grpc"
            assert span.attributes["rpc.grpc.status_code"] == 0
        if span.kind == "PRODUCER":
            assert span.attributes["messaging.system"] == "broadaxe"
    assert any(span.links for span in spans)


def test_g05_no_span_lives_as_long_as_the_process(told: Told) -> None:
    lived = told.stage.collector.spans
    whole = max(span.end_ns for span in lived) - min(span.start_ns for span in lived)
    assert whole > 6 * PER_SECOND
    # The longest is the attempt whose worker fell silent; nothing else is near it.
    silent = {span.span_id for run in told.of("worker_death") for span in told.stage.trace_of(run)}
    longest = max((span for span in lived if span.span_id not in silent), key=lambda span: span.duration_ns)
    assert longest.duration_ns < whole / 2, longest
    roots = {span.name.removeprefix(PREFIX) for span in lived if not span.parent_id}
    assert not [name for name in roots if "Start" in name or "loop" in name]


def test_g06_callers_refusal_is_respected(product: Product) -> None:
    assert product.stage.trace(product.refusing_caller[3:35]) == []


def test_g07_last_spans_before_exit_arrive_and_telemetry_is_set_up_once(product: Product) -> None:
    assert len(product.named("run")) == 2
    assert len({span.resource["service.instance.id"] for span in product.stage.collector.spans}) == 1


def test_g08_replicas_can_be_told_apart(product: Product, told: Told) -> None:
    one, other = (stage.collector.spans[0].resource for stage in (product.stage, told.stage))
    for key in ("service.instance.id", "process.pid"):
        assert one[key] != other[key]
    assert {"service.version", "host.name", "telemetry.sdk.language"} <= one.keys()


def test_g09_metrics_have_what_operators_need_and_only_when_enabled(product: Product, told: Told) -> None:
    assert not product.stage.collector.receiver.metrics
    assert {
        "hatchet.tasks.created", "hatchet.tasks.finished", "hatchet.tasks.retried", "hatchet.queue.wait",
        "hatchet.scheduling.latency", "hatchet.commit.latency", "hatchet.commit.size", "hatchet.worker.slots",
        "hatchet.telemetry.spans.created", "rpc.server.call.duration", "db.client.operation.duration",
    } <= _metrics(told).keys()  # fmt: skip


def _metrics(told: Told) -> dict[str, object]:
    return {
        metric.name: metric
        for request in told.stage.collector.receiver.metrics
        for scopes in request.resource_metrics
        for scope in scopes.scope_metrics
        for metric in scope.metrics
    }


def test_g10_what_the_client_did_wrong_is_no_error_of_the_server(product: Product) -> None:
    calls = product.named("WorkflowService/TriggerWorkflow")
    codes = {(span.attributes["rpc.grpc.status_code"], span.error) for span in calls}
    assert codes == {(0, False), (5, False)}
    statuses = {
        span.attributes["http.response.status_code"]: span.error
        for span in product.stage.collector.spans
        if "http.response.status_code" in span.attributes
    }
    assert statuses == {200: False, 404: False}
    for span in product.stage.collector.spans:
        assert span.error == ("error.type" in span.attributes)


def test_g11_statements_have_text_and_rows_and_durations_are_seconds(told: Told) -> None:
    (insert,) = [span for span in told.spans("simple") if span.name == PREFIX + "INSERT task"]
    assert "INSERT INTO" in str(insert.attributes["db.query.text"])
    assert insert.attributes[PREFIX + "rows.changed"] == 1
    durations = _metrics(told)["db.client.operation.duration"]
    assert durations.unit == "s"  # type: ignore[attr-defined]
    points = durations.histogram.data_points  # type: ignore[attr-defined]
    mean = sum(point.sum for point in points) / sum(point.count for point in points)
    assert 0.00005 < mean < 0.5, "seconds, neither milliseconds nor microseconds"


def test_g12_every_name_that_was_exported_is_in_the_docs(product: Product, told: Told) -> None:
    page = PAGE.read_text()
    by_name = {span.name: span for one in (product, told) for span in one.stage.collector.spans}
    for span in by_name.values():
        listed = f"`{span.name}`" in page
        assert listed or any(template.kind.name == span.kind for template in TEMPLATES), span.name
        for key in span.attributes:
            assert f"`{key}`" in page, key


async def test_g13_losses_are_counted_and_standard_variables_tune(
    databases: Databases, tmp_path: Path
) -> None:
    port = free_port()
    env = {
        "SERVER_OTEL_COLLECTOR_URL": f"127.0.0.1:{port}",
        "OTEL_BSP_MAX_QUEUE_SIZE": "64",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "200",
    }
    async with staged(databases, tmp_path, **env) as stage:
        process = await stage.cluster.start("engine")
        async with stage.caller() as caller:
            await caller.put("flow")
            worker = await stage.worker("flow", client=caller)

            async def lost() -> dict[str, float]:
                run = await caller.start("flow")
                await report(worker, await worker.start_of(run), COMPLETED, "{}")
                found = await stage.cluster.metrics()
                dropped = [value for key, value in found.items() if "spans_dropped_total{" in key]
                return found if sum(dropped) > 0 else {}

            found = await until(lost, "a counted loss", 20)
            await worker.die()
        dropped = sum(value for key, value in found.items() if "spans_dropped_total{" in key)
        created = found["hatchet_telemetry_spans_created_total"]
        assert (
            created
            == found["hatchet_telemetry_spans_exported_total"]
            + dropped
            + found["hatchet_telemetry_spans_pending"]
        )
        assert found["hatchet_telemetry_spans_pending"] <= 64
        complaints = [line for line in process.lines if "cannot export" in line.text]
        assert len(complaints) == 1, "once a minute is enough"
        assert json.loads(complaints[0].text)["level"] == "warn"
        await asyncio.wait_for(stage.stop_all(), 30)
