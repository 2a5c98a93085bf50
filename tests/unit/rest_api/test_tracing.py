"""The span and the measurement of a request."""

import asyncio

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.rest_api.options import RestOptions
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.encode import Envelope
from broadaxe.telemetry.receiver import ReceivedSpan, unpack
from broadaxe.views.model import RunView

from .fakes import TASK, TENANT, Site, task_view

RUNS = f"/api/v1/stable/tenants/{TENANT}/workflow-runs"
CALLER = {"traceparent": f"00-{'11' * 16}-{'22' * 8}-01"}


def spans_of(site: Site) -> list[ReceivedSpan]:
    batch = Envelope({"service.name": "test"}, "broadaxe", "1", "schema").wrap(site.spans)
    return unpack(ExportTraceServiceRequest.FromString(batch))


async def ask(site: Site, path: str, method: str = "GET", **more: object) -> httpx.Response:
    async with site.client() as http:
        return await http.request(method, path, **more)  # type: ignore[arg-type]


async def test_span_under_the_caller_with_conventional_attributes() -> None:
    site = Site()
    await ask(site, f"/api/v1/workers/{TASK}", headers={**CALLER, "user-agent": "test/1"})
    (span,) = spans_of(site)
    assert span.name == "hatchet.run/GET /api/v1/workers/{worker}"
    assert (span.kind, span.trace_id, span.parent_id) == ("SERVER", "11" * 16, "22" * 8)
    assert span.attributes["http.request.method"] == "GET"
    assert span.attributes["http.route"] == "/api/v1/workers/{worker}"
    assert span.attributes["http.response.status_code"] == 404
    assert span.attributes["url.path"] == f"/api/v1/workers/{TASK}"
    assert span.attributes["user_agent.original"] == "test/1"
    assert span.attributes["hatchet.run/tenant.id"] == str(TENANT)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/v1/nothing", 404, False),
        ("/api/v1/workers/x", 400, False),
        (f"/api/v1/stable/tenants/{TENANT}/webhooks", 501, True),
    ],
)
async def test_client_errors_are_no_errors_of_the_span(path: str, status: int, error: bool) -> None:
    site = Site()
    assert (await ask(site, path)).status_code == status
    (span,) = spans_of(site)
    assert span.error is error
    assert span.attributes.get("error.type") == (str(status) if error else None)


async def test_unknown_path_keeps_names_few() -> None:
    site = Site()
    await ask(site, "/api/v1/nothing/7")
    (span,) = spans_of(site)
    assert span.name == "hatchet.run/GET"
    assert "http.route" not in span.attributes


async def test_health_checks_are_not_traced_but_measured() -> None:
    site = Site()
    await ask(site, "/api/ready")
    await ask(site, "/api/live")
    assert site.spans == []
    assert [labels["http.route"] for _, _, labels in site.durations.recorded] == ["/api/ready", "/api/live"]


async def test_unsampled_caller_is_respected() -> None:
    site = Site()
    await ask(site, "/api/v1/version", headers={"traceparent": f"00-{'11' * 16}-{'22' * 8}-00"})
    assert site.spans == []


async def test_trigger_span_belongs_to_the_run_s_trace() -> None:
    site = Site()
    task = task_view()
    site.views.run = RunView(task, (task,), (), (), WorkflowDefinition("w", ()))
    site.commands.parent = TraceContext(b"\x33" * 16, b"\x44" * 8, True)
    body = {"workflowName": "w", "input": {}}
    await ask(site, f"{RUNS}/trigger", "POST", json=body, headers=CALLER)
    (span,) = spans_of(site)
    assert (span.trace_id, span.parent_id) == ("33" * 16, "44" * 8)
    assert span.attributes["hatchet.run/run.id"] == str(TASK)


async def test_refused_trigger_span_under_the_caller() -> None:
    site = Site()
    await ask(site, f"{RUNS}/trigger", "POST", json={}, headers=CALLER)
    (span,) = spans_of(site)
    assert (span.trace_id, span.attributes["http.response.status_code"]) == ("11" * 16, 400)


async def test_duration_in_seconds_with_declared_labels() -> None:
    site = Site(options=RestOptions(request_timeout=0.02))
    site.views.before = asyncio.Event().wait
    await ask(site, f"{RUNS}?since=2026-01-01T00:00:00Z&only_tasks=true")
    ((name, value, labels),) = site.durations.recorded
    assert name == "http.server.request.duration"
    assert 0.01 < value < 5
    assert labels == {
        "http.request.method": "GET",
        "http.route": "/api/v1/stable/tenants/{tenant}/workflow-runs",
        "http.response.status_code": 504,
        "error.type": "504",
    }
