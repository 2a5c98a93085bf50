"""The HTTP API over a real database: every answer goes through the official SDK's own models."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from rows import OTHER, TENANT, WORKER, completed, ids, new_task, now

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.errors import NotFound, Unauthenticated
from broadaxe.domain.ids import RunId, TenantId, WorkerId
from broadaxe.domain.metadata import add_keys
from broadaxe.domain.run import RunFacts
from broadaxe.domain.task import AttemptOutcome, AttemptRecord, Note, NoteKind, TaskState
from broadaxe.domain.workflow import LabelValue, StepDefinition, WorkflowDefinition, WorkflowVersion
from broadaxe.engine.api import Origin, Trigger
from broadaxe.rest_api.app import build_app
from broadaxe.store.ledger import ChildClaim, LogLine, NewTask, TaskWrite, WorkerRow
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.store.run_ledger import NewRun
from broadaxe.telemetry.context import TraceContext, format_traceparent, run_span_id, run_trace_id
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.views.store_views import StoreViews

models = pytest.importorskip("hatchet_sdk.clients.rest.models", reason="hatchet-sdk is not installed")

STEP_ID = ids.uuid4()
DEFINITION = WorkflowDefinition(
    name="Greet", steps=(StepDefinition(id=STEP_ID, name="say_hello", action="greet:say_hello"),)
)
STABLE = f"/api/v1/stable/tenants/{TENANT}"
PLAIN = f"/api/v1/tenants/{TENANT}"


@dataclass
class Caller:
    tenant_id: TenantId
    token_id: UUID


class Tokens:
    async def authenticate(self, authorization: str) -> Caller:
        for name, tenant in (("good", TENANT), ("other", OTHER)):
            if authorization == f"Bearer {name}":
                return Caller(tenant, UUID(int=1))
        raise Unauthenticated("no")


class LedgerCommands:
    """Changes, straight into the ledger."""

    def __init__(self, ledger: PostgresLedger, version: WorkflowVersion) -> None:
        self.ledger = ledger
        self.version = version

    async def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> UUID:
        if trigger.workflow != self.version.definition.name:
            raise NotFound(f"workflow {trigger.workflow} does not exist")
        task = task_of(self.version, input=trigger.input, metadata=trigger.metadata or b"{}")
        return (await self.ledger.create_tasks([task], patience=30))[0]

    async def cancel(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        return list(ids)

    async def replay(self, tenant_id: TenantId, ids: Sequence[UUID], origin: Origin) -> list[UUID]:
        return list(ids)

    async def pause_worker(self, tenant_id: TenantId, worker_id: UUID, paused: bool) -> bool:
        return await self.ledger.set_paused(tenant_id, WorkerId(worker_id), paused)


class Unmeasured:
    def record(self, metric: object, value: float, labels: object) -> None: ...


def task_of(version: WorkflowVersion, state: TaskState = TaskState.QUEUED, **facts: Any) -> NewTask:
    return new_task(
        state=state,
        workflow_id=version.workflow_id,
        version_id=version.version_id,
        step_id=STEP_ID,
        **facts,
    )


@pytest.fixture
async def version(ledger: PostgresLedger) -> WorkflowVersion:
    return await ledger.put_workflow(TENANT, DEFINITION)


@pytest.fixture
async def http(ledger: PostgresLedger, version: WorkflowVersion) -> AsyncIterator[httpx.AsyncClient]:
    clock = SystemClock()
    app = build_app(
        StoreViews(PostgresReads(ledger.database), clock),
        LedgerCommands(ledger, version),
        Tokens(),
        clock,
        Tracer(clock, SystemIds(), None, Sampler(1.0)),
        Unmeasured(),
        lambda: True,
    )
    transport = httpx.ASGITransport(app)
    headers = {"authorization": "Bearer good"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def get(http: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def since() -> str:
    return (now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def listed(http: httpx.AsyncClient, **params: Any) -> Any:
    answer = await get(http, f"{STABLE}/workflow-runs", since=since(), only_tasks="false", **params)
    return models.V1TaskSummaryList.from_dict(answer)


async def test_run_list_completed_task_readable_by_sdk(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task = task_of(version, TaskState.ASSIGNED, input=b'{"who": "you"}')
    await ledger.create_tasks([task], patience=30)
    await ledger.write_task(completed(task, b'{"said":"hello"}'))
    found = await listed(http)
    (row,) = found.rows
    assert row.metadata.id == str(task.facts.id) == row.task_external_id
    assert row.display_name == f"say_hello-{int(task.facts.created_at.timestamp() * 1000)}"
    assert (row.status.value, row.attempt, row.retry_count) == ("COMPLETED", 1, 0)
    assert row.input == {"input": {"who": "you"}}
    assert row.output == {"said": "hello"}
    assert row.additional_metadata["team"] == "blue"
    assert (row.workflow_name, row.action_id) == ("Greet", "greet:say_hello")
    assert found.pagination.num_pages == 1


async def test_run_list_without_payloads_empty_objects(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    await ledger.create_tasks([task_of(version)], patience=30)
    (row,) = (await listed(http, include_payloads="false")).rows
    assert row.input == {"input": {}}
    assert row.output == {}


async def test_run_list_pages_newest_first_with_counts(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    tasks = [task_of(version) for _ in range(5)]
    await ledger.create_tasks(tasks, patience=30)
    newest_first = [str(task.facts.id) for task in reversed(tasks)]
    first = await listed(http, limit=2)
    last = await listed(http, limit=2, offset=4)
    assert [row.metadata.id for row in first.rows] == newest_first[:2]
    assert [row.metadata.id for row in last.rows] == newest_first[4:]
    pages = [(p.current_page, p.next_page, p.num_pages) for p in (first.pagination, last.pagination)]
    assert pages == [(1, 2, 3), (3, 3, 3)]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"additional_metadata": ["color:red"]}, {"red", "both"}),
        ({"additional_metadata": ["color:red", "size:9"]}, {"red", "both", "nine"}),
        ({"additional_metadata": ["color:red", "size:9"], "additional_metadata_operator": "AND"}, {"both"}),
        ({"additional_metadata": ["url:http://x:1"]}, {"red"}),
        ({"additional_metadata": ["smile:\U0001f600"]}, {"smile"}),
        ({"statuses": ["RUNNING"]}, {"running"}),
        ({"statuses": ["QUEUED", "RUNNING"], "worker_id": str(WORKER)}, {"running"}),
        ({"running_filter": "EVICTED"}, set()),
        ({"idempotency_keys": ["k"]}, set()),
        ({"until": "2020-01-01T00:00:00.000000Z"}, set()),
    ],
)
async def test_run_list_filter_leaves_the_matching(
    http: httpx.AsyncClient,
    ledger: PostgresLedger,
    version: WorkflowVersion,
    params: dict[str, Any],
    expected: set[str],
) -> None:
    metadata = {
        "red": b'{"color":"red","url":"http://x:1"}',
        "both": b'{"color":"red","size":9}',
        "nine": b'{"size":"9"}',
        "smile": b'{"smile":"\\ud83d\\ude00"}',
        "lone": b'{"color":"red","odd":"\\ud83d"}',
        "nul": b'{"color":"red","odd":"\\u0000"}',
        "running": b"{}",
    }
    tasks = {
        name: task_of(version, TaskState.ASSIGNED if name == "running" else TaskState.QUEUED, metadata=text)
        for name, text in metadata.items()
    }
    await ledger.create_tasks(list(tasks.values()), patience=30)
    names = {str(task.facts.id): name for name, task in tasks.items()}
    answer = await get(
        http, f"{STABLE}/workflow-runs/external-ids", since=since(), only_tasks="false", **params
    )
    assert {names[one] for one in answer} == expected


async def test_schedule_time_out_shown_as_failed_everywhere(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task, cancelled = task_of(version), task_of(version)
    await ledger.create_tasks([task, cancelled], patience=30)
    for one, kind in ((task, NoteKind.SCHEDULING_TIMED_OUT), (cancelled, NoteKind.CANCELLED)):
        at = now()
        await ledger.write_task(
            TaskWrite(
                TENANT, one.facts.id, 0, TaskState.QUEUED,
                replace(one.status, state=TaskState.CANCELLED, finished_at=at),
                notes=(Note(kind, 0, at, "no worker in time"),),
            )
        )  # fmt: skip
    failed = await listed(http, statuses="FAILED")
    assert [row.metadata.id for row in failed.rows] == [str(task.facts.id)]
    assert failed.rows[0].error_message == "no worker in time"
    assert [r.metadata.id for r in (await listed(http, statuses="CANCELLED")).rows] == [
        str(cancelled.facts.id)
    ]
    run = f"/api/v1/stable/workflow-runs/{task.facts.id}"
    assert await get(http, f"{run}/status") == "FAILED"
    events = models.V1TaskEventList.from_dict(await get(http, f"{run}/task-events")).rows
    assert [event.event_type.value for event in events] == ["SCHEDULING_TIMED_OUT", "QUEUED", "CREATED"]
    counts = await get(http, f"{STABLE}/task-metrics", since=since())
    assert {c["status"]: c["count"] for c in counts if c["count"]} == {"FAILED": 1, "CANCELLED": 1}
    assert {models.V1TaskRunMetric.from_dict(c).status.value for c in counts} == {
        "QUEUED", "RUNNING", "COMPLETED", "CANCELLED", "FAILED",
    }  # fmt: skip


async def retried(ledger: PostgresLedger, version: WorkflowVersion) -> NewTask:
    """A task that failed once, was retried, and completed."""
    task = task_of(version, TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    at = now()
    record = AttemptRecord(0, AttemptOutcome.FAILED, at, at, at, at, WORKER, None, b"boom")
    again = replace(task.status, attempt=1, app_retries=1, queued_at=at)
    await ledger.write_task(
        TaskWrite(
            TENANT, task.facts.id, 0, TaskState.ASSIGNED, again, record,
            (Note(NoteKind.RETRYING, 1, at, "Retry 1 of 3"),),
        )
    )  # fmt: skip
    done = replace(again, state=TaskState.COMPLETED, started_at=at, finished_at=now(), output=b'{"n":2}')
    await ledger.write_task(TaskWrite(TENANT, task.facts.id, 1, TaskState.ASSIGNED, done))
    return task


async def test_run_get_retried_task_whole_timeline(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task = await retried(ledger, version)
    answer = await get(http, f"/api/v1/stable/workflow-runs/{task.facts.id}")
    details = models.V1WorkflowRunDetails.from_dict(answer)
    assert details.run.status.value == "COMPLETED"
    assert details.run.output == {"n": 2}
    assert details.tasks[0].attempt == 2
    assert details.shape[0].task_name == "say_hello"
    kinds = [event.event_type.value for event in reversed(details.task_events)]
    assert kinds.count("FAILED") == kinds.count("RETRYING") == kinds.count("FINISHED") == 1
    assert kinds[0] == "CREATED"
    assert kinds[-1] == "FINISHED"
    (failure,) = [event for event in details.task_events if event.event_type.value == "FAILED"]
    assert (failure.error_message, failure.attempt) == ("boom", 1)
    assert len({event.id for event in details.task_events}) == len(kinds)


async def test_task_get_earlier_attempt_its_error(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task = await retried(ledger, version)
    path = f"/api/v1/stable/tasks/{task.facts.id}"
    first = models.V1TaskSummary.from_dict(await get(http, path, attempt=1))
    assert (first.status.value, first.error_message, first.attempt) == ("FAILED", "boom", 1)
    newest = models.V1TaskSummary.from_dict(await get(http, path))
    assert (newest.status.value, newest.attempt) == ("COMPLETED", 2)
    assert (await http.get(path, params={"attempt": 3})).status_code == 404


async def test_children_counted_listed_and_timed(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    parent = task_of(version)
    await ledger.create_tasks([parent], patience=30)
    children = [
        task_of(version, claim=ChildClaim(parent.facts.id, f"i:{n}"), child_index=n) for n in range(3)
    ]
    await ledger.create_tasks(children, patience=30)
    own = (await listed(http, parent_task_external_id=str(parent.facts.id))).rows
    assert {row.metadata.id for row in own} == {str(child.facts.id) for child in children}
    assert {row.parent_task_external_id for row in own} == {str(parent.facts.id)}
    run = f"/api/v1/stable/workflow-runs/{parent.facts.id}"
    assert models.V1WorkflowRunDetails.from_dict(await get(http, run)).tasks[0].num_spawned_children == 3
    flat = models.V1TaskTimingList.from_dict(await get(http, f"{run}/task-timings"))
    deep = models.V1TaskTimingList.from_dict(await get(http, f"{run}/task-timings", depth=2))
    assert [row.depth for row in flat.rows] == [0]
    assert [row.depth for row in deep.rows] == [0, 1, 1, 1]


async def test_other_tenant_sees_nothing(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task = task_of(version)
    await ledger.create_tasks([task], patience=30)
    worker = await registered(ledger)
    as_other = {"authorization": "Bearer other"}
    for path in (
        f"/api/v1/stable/tasks/{task.facts.id}",
        f"/api/v1/stable/tasks/{task.facts.id}/logs",
        f"/api/v1/stable/tasks/{task.facts.id}/task-events",
        f"/api/v1/stable/workflow-runs/{task.facts.id}",
        f"/api/v1/stable/workflow-runs/{task.facts.id}/status",
        f"/api/v1/stable/workflow-runs/{task.facts.id}/task-timings",
        f"/api/v1/workflows/{version.workflow_id}",
        f"/api/v1/workflows/{version.workflow_id}/versions",
        f"/api/v1/workers/{worker.id}",
    ):
        assert (await http.get(path)).status_code == 200
        assert (await http.get(path, headers=as_other)).status_code == 404
    assert (await http.get(PLAIN + "/workflows", headers=as_other)).status_code == 403


async def test_logs_filtered_by_level_search_and_attempt(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task = task_of(version)
    await ledger.create_tasks([task], patience=30)
    start = now()
    texts = (("INFO", "Starting up", 0), ("ERROR", "It broke \x00 here", 0), ("INFO", "again", 1))
    await ledger.add_log_lines(
        [
            LogLine(TENANT, task.facts.id, attempt, start + timedelta(seconds=n), level, text, b'{"n":1}')
            for n, (level, text, attempt) in enumerate(texts)
        ]
    )
    path = f"/api/v1/stable/tasks/{task.facts.id}/logs"

    async def messages(**params: Any) -> list[str]:
        lines = models.V1LogLineList.from_dict(await get(http, path, **params)).rows
        return [line.message for line in lines]

    assert await messages() == [text for _, text, _ in texts]
    assert await messages(order_by_direction="DESC", limit=1) == ["again"]
    assert await messages(levels="ERROR") == ["It broke \x00 here"]
    assert await messages(search="STARTING") == ["Starting up"]
    assert await messages(attempt=2) == ["again"]


async def registered(ledger: PostgresLedger, **changes: Any) -> WorkerRow:
    at = now()
    row = WorkerRow(
        tenant_id=TENANT, id=WorkerId(ids.uuid7()), name="w", actions=("greet:say_hello",),
        slots={"default": 10}, labels={"gpu": LabelValue(number=2)}, registered_at=at,
        runtime={"language": "PYTHON", "sdk_version": "1.43.1"}, last_heartbeat_at=at, listening_since=at,
    )  # fmt: skip
    row = replace(row, **changes)
    await ledger.add_worker(row)
    return row


async def test_worker_status_slots_and_pause(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    worker = await registered(ledger, last_heartbeat_at=now() + timedelta(minutes=1))
    silent = await registered(ledger, last_heartbeat_at=now() - timedelta(seconds=6), paused=True)
    task = task_of(version, TaskState.ASSIGNED)
    task = replace(task, status=replace(task.status, worker_id=worker.id))
    await ledger.create_tasks([task], patience=30)
    rows = models.WorkerList.from_dict(await get(http, f"{PLAIN}/worker")).rows
    assert {row.metadata.id: row.status.value for row in rows} == {
        str(worker.id): "ACTIVE",
        str(silent.id): "INACTIVE",
    }
    path = f"/api/v1/workers/{worker.id}"
    answer = await http.patch(path, json={"isPaused": True})
    paused = models.Worker.from_dict(answer.json())
    assert paused.status.value == "PAUSED"
    assert (paused.slot_config["default"].limit, paused.slot_config["default"].available) == (10, 9)
    assert [(label.key, label.value) for label in paused.labels] == [("gpu", "2")]
    assert paused.runtime_info.language.value == "PYTHON"
    only = await get(http, f"{PLAIN}/worker", statuses="PAUSED", labels="gpu:2")
    assert [row["metadata"]["id"] for row in only["rows"]] == [str(worker.id)]
    assert (await http.patch(f"/api/v1/workers/{ids.uuid7()}", json={"isPaused": True})).status_code == 404


async def test_workflows_listed_and_versioned(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    second = await ledger.put_workflow(TENANT, replace(DEFINITION, description="new", version="v2"))
    listing = models.WorkflowList.from_dict(await get(http, f"{PLAIN}/workflows", name="gree"))
    (row,) = listing.rows
    assert (row.name, row.description) == ("Greet", "new")
    assert models.WorkflowList.from_dict(await get(http, f"{PLAIN}/workflows", name="zzz")).rows == []
    path = f"/api/v1/workflows/{version.workflow_id}"
    workflow = models.Workflow.from_dict(await get(http, path))
    assert [(v.order, v.version) for v in workflow.versions] == [(2, "v2"), (1, "1")]
    newest = models.WorkflowVersion.from_dict(await get(http, f"{path}/versions"))
    assert newest.metadata.id == str(second.version_id)
    first = models.WorkflowVersion.from_dict(
        await get(http, f"{path}/versions", version=str(version.version_id))
    )
    assert first.order == 1
    assert first.jobs[0].steps[0].readable_id == "say_hello"
    assert first.workflow_config["name"] == "Greet"


async def test_trigger_answers_the_visible_run(http: httpx.AsyncClient) -> None:
    body = {"workflowName": "Greet", "input": {"who": "me"}, "additionalMetadata": {"a": "b"}}
    answer = await http.post(f"{STABLE}/workflow-runs/trigger", json=body)
    details = models.V1WorkflowRunDetails.from_dict(answer.json())
    assert details.run.status.value == "QUEUED"
    assert details.run.input == {"input": {"who": "me"}}
    unknown = await http.post(f"{STABLE}/workflow-runs/trigger", json={**body, "workflowName": "No"})
    assert unknown.status_code == 404
    assert "No" in json.dumps(models.APIErrors.from_dict(unknown.json()).to_dict())


async def test_queue_depths_and_stats_by_name(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    await ledger.create_tasks([task_of(version), task_of(version)], patience=30)
    await ledger.create_tasks([task_of(version, TaskState.ASSIGNED)], patience=30)
    depths = await get(http, f"{PLAIN}/step-run-queue-metrics")
    assert models.TenantStepRunQueueMetrics.from_dict(depths).queues == {"greet:say_hello": 2}
    stats = await get(http, f"{PLAIN}/task-stats")
    stat = models.TaskStat.from_dict(stats["say_hello"])
    assert (stat.queued.total, stat.running.total) == (2, 1)


async def test_display_names_and_count_known_ids(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    task = task_of(version)
    await ledger.create_tasks([task], patience=30)
    names = await get(
        http, f"{STABLE}/workflow-runs/display-names", external_ids=[str(task.facts.id), str(ids.uuid7())]
    )
    (row,) = models.V1WorkflowRunDisplayNameList.from_dict(names).rows
    assert row.display_name.startswith("say_hello-")
    count = await get(http, f"{STABLE}/workflow-runs/count", since=since(), only_tasks="true")
    assert models.V1WorkflowRunCount.from_dict(count).count == 1


async def test_run_list_too_many_payload_bytes_refused_naming_limit(
    ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    from broadaxe.domain.errors import InvalidArgument
    from broadaxe.views.api import RunFilter

    views = StoreViews(PostgresReads(ledger.database), SystemClock(), payload_limit=250)
    await ledger.create_tasks([task_of(version), task_of(version)], patience=30)
    where = RunFilter(since=now() - timedelta(hours=1))
    assert len((await views.list_runs(TENANT, where, 0, 1)).rows) == 1
    assert len((await views.list_runs(TENANT, where, 0, 2, payloads=False)).rows) == 2
    with pytest.raises(InvalidArgument, match="limit"):
        await views.list_runs(TENANT, where, 0, 2)


async def test_tenant_get_named(http: httpx.AsyncClient, ledger: PostgresLedger, dsn: str) -> None:
    import asyncpg

    assert (await http.get(PLAIN)).status_code == 404
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO tenant (id, name, slug, created_at, updated_at) "
        "VALUES ($1, 'Team', 'team', now(), now())",
        TENANT,
    )
    await connection.close()
    tenant = models.Tenant.from_dict(await get(http, PLAIN))
    assert (tenant.name, tenant.slug, tenant.version.value) == ("Team", "team", "V1")


async def test_traceparent_that_the_engine_added_is_found_by_what_is_shown(
    http: httpx.AsyncClient, ledger: PostgresLedger, version: WorkflowVersion
) -> None:
    callers = (run_trace_id, lambda run_id: b"a callers trace ")
    made: list[NewTask | NewRun] = []
    for trace_id in callers:
        for metadata in (b"{}", b'{"team":"blue"}'):
            task_id, run_id = ids.uuid7(), RunId(ids.uuid7())
            made.append(task_of(version, task_id=task_id, **added(metadata, trace_id(task_id), task_id)))
            made.append(
                NewRun(
                    RunFacts(
                        TENANT, run_id, version.workflow_id, version.version_id, 1, now(), b"{}",
                        **added(metadata, trace_id(run_id), run_id),
                    )
                )
            )  # fmt: skip
    own = task_of(version, metadata=b'{"team":"blue","traceparent":"mine"}')
    await ledger.create_tasks([*made, own], patience=30)
    shown = {row.metadata.id: row.additional_metadata for row in (await listed(http)).rows}
    assert shown.keys() == {str(one.facts.id) for one in (*made, own)}
    for one, metadata in shown.items():
        pair = f"traceparent:{metadata['traceparent']}"
        found = await listed(http, additional_metadata=[pair])
        assert [row.metadata.id for row in found.rows] == [one]
        both = {"additional_metadata": [pair, "team:blue"], "additional_metadata_operator": "AND"}
        assert bool((await listed(http, **both)).rows) is ("team" in metadata)
    assert not (await listed(http, additional_metadata=["traceparent:" + "0" * 55])).rows


def added(metadata: bytes, trace_id: bytes, run_id: UUID) -> dict[str, Any]:
    """Metadata and trace of a run whose caller named no trace in its metadata."""
    above = bytes(8) if trace_id == run_trace_id(run_id) else b"a caller"
    context = TraceContext(trace_id, run_span_id(run_id), True)
    return {
        "metadata": add_keys(metadata, {"traceparent": format_traceparent(context)}),
        "trace": trace_id + above + b"\x01",
    }


@pytest.mark.parametrize("metadata", [(), (("team", "blue"),), (("traceparent", "00-0"),)])
async def test_run_list_plan_touches_only_the_days_asked_for(
    ledger: PostgresLedger, dsn: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    import asyncpg

    from broadaxe.store.reads import TaskCriteria

    class Explained(PostgresReads):
        """Asks for the plan of the statement in place of its rows."""

        plan = ""

        async def list_tasks(self, *arguments: Any) -> Any:
            from broadaxe.store import postgres_reads as module

            tenant, where, offset, limit, budget = arguments
            text = module.statement("view_task_page").text
            connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_custom_plan"})
            rows = await connection.fetch(
                f"EXPLAIN {text}", *module._arguments(tenant, where), None, limit, offset, budget
            )
            await connection.close()
            self.plan = "\n".join(row[0] for row in rows)
            return []

    reads = Explained(ledger.database)
    at = now().replace(hour=12)
    where = TaskCriteria(at, at + timedelta(hours=1), metadata=metadata)
    await reads.list_tasks(TENANT, where, 0, 50, 1)
    days = set(re.findall(r"_p(\d{8})", reads.plan))
    assert days == {at.strftime("%Y%m%d")}
    assert "Seq Scan on task" not in reads.plan
