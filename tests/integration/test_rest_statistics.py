"""A tenant's log lines and its counts over time, read by the SDK's models."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from rows import OTHER, TENANT, WORKER, completed, ids, new_task, now
from test_rest_reads import LedgerCommands, Tokens, Unmeasured, added, task_of, version  # noqa: F401

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.ids import WorkerId
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.rest_api.app import build_app
from broadaxe.store.ledger import LogLine, NewTask, WorkerRow
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.telemetry.context import run_trace_id
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.views.statistics import starts, stretch
from broadaxe.views.store_views import StoreViews

models = pytest.importorskip("hatchet_sdk.clients.rest.models", reason="hatchet-sdk is not installed")

STABLE = f"/api/v1/stable/tenants/{TENANT}"
PLAIN = f"/api/v1/tenants/{TENANT}"


@pytest.fixture
async def client(
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> AsyncIterator[httpx.AsyncClient]:
    clock = SystemClock()
    app = build_app(
        StoreViews(PostgresReads(ledger.database), clock),
        LedgerCommands(ledger, version),  # type: ignore[arg-type]
        Tokens(),
        clock,
        Tracer(clock, SystemIds(), None, Sampler(1.0)),
        Unmeasured(),
        lambda: True,
    )
    headers = {"authorization": "Bearer good"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as made:
        yield made


async def get(client: httpx.AsyncClient, path: str, status: int = 200, **query: Any) -> Any:
    answer = await client.get(path, params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


def line(task: NewTask, message: str, level: str, at: datetime, attempt: int = 0) -> LogLine:
    return LogLine(task.facts.tenant_id, task.facts.id, attempt, at, level, message, b"{}")


@pytest.fixture
async def logged(
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> tuple[NewTask, NewTask, datetime]:
    """Two tasks of the tenant with lines, of different workflows, and one of another tenant."""
    one, two, stranger = task_of(version), new_task(), new_task(OTHER)
    await ledger.create_tasks([one, two, stranger], patience=30)
    at = now() - timedelta(minutes=30)
    lines = [
        line(one, "Hello there", "INFO", at),
        line(one, "hello again", "ERROR", at + timedelta(minutes=10), 1),
        line(two, "bye\x00", "WARN", at + timedelta(minutes=20)),
        line(two, "very old", "DEBUG", at - timedelta(days=2)),
        line(stranger, "hello from next door", "INFO", at),
    ]
    await ledger.add_log_lines(lines)
    return one, two, at


async def test_tenant_logs_are_filtered_and_ordered(
    client: httpx.AsyncClient, logged: tuple[NewTask, NewTask, datetime]
) -> None:
    one, two, at = logged

    async def found(**query: Any) -> list[str]:
        answer = models.V1LogLineList.from_dict(await get(client, f"{STABLE}/logs", **query))
        return [row.message for row in answer.rows]

    assert await found() == ["bye\x00", "hello again", "Hello there"]
    assert await found(order_by_direction="ASC") == ["Hello there", "hello again", "bye\x00"]
    assert await found(limit=1) == ["bye\x00"]
    assert await found(levels=["INFO", "WARN"]) == ["bye\x00", "Hello there"]
    assert await found(search="HELLO") == ["hello again", "Hello there"]
    assert await found(search="bye") == ["bye\x00"]
    assert await found(taskExternalIds=str(two.facts.id)) == ["bye\x00"]
    assert await found(workflow_ids=str(one.facts.workflow_id)) == ["hello again", "Hello there"]
    assert await found(step_ids=str(two.facts.step_id)) == ["bye\x00"]
    assert await found(workflow_ids=str(ids.uuid7())) == []
    assert await found(attempt=2) == ["hello again"]
    assert (await found(since=(at - timedelta(days=3)).isoformat()))[-1:] == ["very old"]
    assert await found(until=(at + timedelta(minutes=10)).isoformat()) == ["Hello there"]
    rows = (await get(client, f"{STABLE}/logs", levels="INFO"))["rows"]
    assert rows[0]["taskDisplayName"].startswith("say_hello-")
    assert rows[0]["attempt"] == 1
    for bad in (
        {"levels": "LOUD"},
        {"limit": 0},
        {"attempt": 0},
        {"since": "x"},
        {"since": "2099-01-01T00:00:00Z"},
    ):
        await get(client, f"{STABLE}/logs", 400, **bad)


async def test_log_points_cover_the_whole_time_and_add_up(
    client: httpx.AsyncClient, logged: tuple[NewTask, NewTask, datetime]
) -> None:
    _, _, at = logged
    since, until = at - timedelta(minutes=1), at + timedelta(minutes=29)
    answer = await get(
        client, f"{STABLE}/log-point-metrics", since=since.isoformat(), until=until.isoformat()
    )
    points = models.V1LogsPointMetrics.from_dict(answer).results
    assert len(points) == 60
    assert points[0].time == since
    totals = [sum(getattr(point, name) for point in points) for name in ("debug", "info", "warn", "error")]
    assert totals == [0, 1, 1, 1]
    assert points[2].info == 1
    answer = await get(client, f"{STABLE}/log-point-metrics", search="hello")
    points = models.V1LogsPointMetrics.from_dict(answer).results
    assert sum(point.info + point.error for point in points) == 2


async def test_task_points_count_what_ended(
    client: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
    since = now() - timedelta(minutes=1)
    tasks = [task_of(version, TaskState.ASSIGNED) for _ in range(3)]
    await ledger.create_tasks([*tasks, task_of(version)], patience=30)
    for task in tasks:
        await ledger.write_task(completed(task))
    until = now() + timedelta(minutes=1)
    query = {"createdAfter": since.isoformat(), "finishedBefore": until.isoformat()}
    answer = await get(client, f"{STABLE}/task-point-metrics", **query)
    points = models.V1TaskPointMetrics.from_dict(answer).results
    assert sum(point.succeeded for point in points) == 3
    assert sum(point.failed for point in points) == 0
    later = {"createdAfter": until.isoformat(), "finishedBefore": (until + timedelta(hours=1)).isoformat()}
    answer = await get(client, f"{STABLE}/task-point-metrics", **later)
    assert sum(point["SUCCEEDED"] for point in answer["results"]) == 0


async def test_backlog_and_counts_by_workflow_and_metadata(
    client: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
    queued = [task_of(version, metadata=b'{"team":"blue"}'), task_of(version, metadata=b'{"team":"red"}')]
    running = task_of(version, TaskState.ASSIGNED, metadata=b'{"team":"blue"}')
    done = task_of(version, TaskState.ASSIGNED)
    await ledger.create_tasks([*queued, running, done, new_task(OTHER)], patience=30)
    await ledger.write_task(completed(done))
    workflow = str(version.workflow_id)
    answer = models.TenantQueueMetrics.from_dict(await get(client, f"{PLAIN}/queue-metrics"))
    assert (answer.total.num_queued, answer.total.num_running, answer.total.num_pending) == (2, 1, 0)
    assert answer.workflow[workflow].num_queued == 2
    assert answer.queues == {"greet:say_hello": 2}
    blue = await get(client, f"{PLAIN}/queue-metrics", additionalMetadata=["team:blue", "team:green"])
    assert blue["total"] == {"numQueued": 1, "numRunning": 1, "numPending": 0}
    none = await get(client, f"{PLAIN}/queue-metrics", workflows=str(ids.uuid7()))
    assert none == {"total": {"numQueued": 0, "numRunning": 0, "numPending": 0}, "workflow": {}, "queues": {}}
    counts = models.WorkflowRunsMetrics.from_dict(
        await get(client, f"{PLAIN}/workflows/runs/metrics", workflowId=workflow)
    ).counts
    assert (counts.queued, counts.running, counts.succeeded, counts.failed) == (2, 1, 1, 0)
    empty = await get(client, f"{PLAIN}/workflows/runs/metrics", createdBefore="2020-01-01T00:00:00Z")
    assert set(empty["counts"].values()) == {0}


async def test_backlog_is_counted_by_a_traceparent_that_the_engine_added(
    client: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
    task_id = ids.uuid7()
    facts = added(b"{}", run_trace_id(task_id), task_id)
    await ledger.create_tasks([task_of(version, task_id=task_id, **facts), task_of(version)], patience=30)
    shown = json.loads(facts["metadata"])["traceparent"]
    found = await get(client, f"{PLAIN}/queue-metrics", additionalMetadata=f"traceparent:{shown}")
    assert found["total"] == {"numQueued": 1, "numRunning": 0, "numPending": 0}


async def test_worker_count_is_of_active_workers_with_the_action(
    client: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
    at = now()
    worker_id = WorkerId(ids.uuid7())
    for one, actions in ((worker_id, ("greet:say_hello",)), (WorkerId(ids.uuid7()), ("other:step",))):
        await ledger.add_worker(WorkerRow(TENANT, one, "w", actions, {"default": 5}, {}, {}, at, at))
        await ledger.set_session(TENANT, one, at, True)
    await ledger.record_heartbeats([(TENANT, worker_id, at + timedelta(seconds=1))])
    await ledger.create_tasks([task_of(version, TaskState.ASSIGNED)], patience=30)
    path = f"{PLAIN}/workflows/{version.workflow_id}/worker-count"
    answer = models.WorkflowWorkersCount.from_dict(await get(client, path))
    assert (answer.free_slot_count, answer.max_slot_count) == (5, 5)
    await get(client, f"{PLAIN}/workflows/{UUID(int=9)}/worker-count", 404)


@pytest.mark.parametrize(
    "span", [timedelta(milliseconds=5), timedelta(minutes=1), timedelta(days=400), timedelta(days=9_000)]
)
def test_stretches_cover_any_time_and_are_not_too_many(span: timedelta) -> None:
    since = datetime(2001, 1, 1, tzinfo=UTC)
    found = starts(since, since + span)
    assert 1 <= len(found) <= 61
    assert found[0] == since
    assert found[-1] < since + span <= found[-1] + stretch(since, since + span)


async def test_workflow_metrics_count_its_runs(
    client: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
    done = task_of(version, TaskState.ASSIGNED)
    await ledger.create_tasks(
        [task_of(version), task_of(version), done, new_task(), new_task(OTHER)], patience=30
    )
    await ledger.write_task(completed(done))
    path = f"/api/v1/workflows/{version.workflow_id}/metrics"

    async def count(**query: str) -> tuple[int | None, int | None]:
        found = await client.get(path, params=query)
        assert found.status_code == 200, found.text
        answer = models.WorkflowMetrics.from_dict(found.json())
        return answer.group_key_runs_count, answer.group_key_count

    assert await count() == (3, 0)
    assert await count(status="QUEUED") == (2, 0)
    assert await count(status="SUCCEEDED") == (1, 0)
    assert await count(status="PENDING") == (0, 0)
    assert await count(groupKey="g") == (0, 0)
    assert (await client.get(path, params={"status": "LOUD"})).status_code == 400
    await get(client, f"/api/v1/workflows/{UUID(int=9)}/metrics", 404)


async def test_prometheus_metrics_are_the_tenants_gauges(
    client: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
    at = now()
    worker_id, lost = WORKER, WorkerId(ids.uuid7())
    runtime = {"language": "PYTHON", "sdk_version": '1"0'}
    actions = ("greet:say_hello",)
    for one in (worker_id, lost):
        await ledger.add_worker(WorkerRow(TENANT, one, "w", actions, {"default": 5}, {}, runtime, at, at))
        await ledger.set_session(TENANT, one, at, one is worker_id)
    await ledger.add_worker(WorkerRow(OTHER, WorkerId(ids.uuid7()), "w", actions, {"default": 7}, {}, {}, at))
    await ledger.record_heartbeats([(TENANT, worker_id, at + timedelta(seconds=1))])
    running = task_of(version, TaskState.ASSIGNED)
    await ledger.create_tasks([task_of(version), task_of(version), running, new_task(OTHER)], patience=30)

    answer = await client.get(f"{PLAIN}/prometheus-metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    one = f'tenant_id="{TENANT}"'
    assert lines == [
        f"hatchet_tenant_queue_depth{{{one}}} 2",
        f"hatchet_tenant_active_workers{{{one}}} 1",
        f"hatchet_tenant_worker_slots{{{one}}} 5",
        f"hatchet_tenant_available_worker_slots{{{one}}} 4",
        f"hatchet_tenant_used_worker_slots{{{one}}} 1",
        f'hatchet_tenant_used_worker_slots_by_key{{{one},slot_key="default"}} 1',
        f'hatchet_tenant_active_sdks{{{one},sdk_language="PYTHON",sdk_version="1\\"0",sdk_os="",'
        'sdk_language_version=""} 1',
    ]
    assert "# TYPE hatchet_tenant_queue_depth gauge" in answer.text
    await get(client, f"/api/v1/tenants/{OTHER}/prometheus-metrics", 403)
