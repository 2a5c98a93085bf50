"""Crons, planned runs and pauses over HTTP, with an engine behind, read by the SDK's models."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from rows import OTHER, TENANT, ids
from store_server import MakeLedger
from test_rest_reads import Tokens, Unmeasured

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.ids import EngineId
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition
from broadaxe.engine.api import Origin
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.rest_api.app import build_app
from broadaxe.rest_api.commands import EngineCommands
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.testkit.conditions import until
from broadaxe.testkit.schedule_invariants import schedule_problems
from broadaxe.views.store_views import StoreViews

models = pytest.importorskip("hatchet_sdk.clients.rest.models", reason="hatchet-sdk is not installed")

PLAIN = f"/api/v1/tenants/{TENANT}"
FAR = "2031-02-03T04:05:06.789Z"


class NoMeter:
    def add(self, *_: object) -> None: ...
    def record(self, *_: object) -> None: ...
    def observe(self, *_: object) -> None: ...


@dataclass
class Site:
    engine: EngineCore
    client: httpx.AsyncClient
    ledger: PostgresLedger

    async def register(self, name: str = "flow", **fields: Any) -> UUID:
        step = StepDefinition(id=UUID(int=3), name="step", action=f"{name}:step", slots={})
        definition = WorkflowDefinition(name=name, steps=(step,), **fields)
        return (await self.engine.put_workflow(TENANT, definition, Origin())).workflow_id

    async def call(self, method: str, path: str, status: int = 200, **how: Any) -> Any:
        answer = await self.client.request(method, path, **how)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def cron(self, name: str = "mine", expression: str = "0 0 1 1 *", **fields: Any) -> Any:
        body = {"cronName": name, "cronExpression": expression, "input": {}, "additionalMetadata": {}}
        return models.CronWorkflows.from_dict(
            await self.call("POST", f"{PLAIN}/workflows/flow/crons", json={**body, **fields})
        )

    async def plan(self, at: str = FAR, **fields: Any) -> Any:
        body = {"triggerAt": at, "input": {"a": 1}, "additionalMetadata": {}}
        return models.ScheduledWorkflows.from_dict(
            await self.call("POST", f"{PLAIN}/workflows/flow/scheduled", json={**body, **fields})
        )


@pytest.fixture
async def site(dsn: str, make_ledger: MakeLedger) -> AsyncIterator[Site]:
    ledger = await make_ledger(dsn)
    clock = SystemClock()
    tracer = Tracer(clock, SystemIds(), None, Sampler(1.0))
    engine = EngineCore(ledger, clock, SystemIds(), tracer, NoMeter(), EngineOptions(EngineId(ids.uuid7())))
    engine.start()
    await engine.until_ready()
    app = build_app(
        StoreViews(PostgresReads(ledger.database), clock),
        EngineCommands(engine, ledger),
        Tokens(),
        clock,
        tracer,
        Unmeasured(),
        lambda: True,
    )
    headers = {"authorization": "Bearer good"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        made = Site(engine, client, ledger)
        await made.register()
        yield made
    await engine.drain()
    await engine.stop()


async def test_cron_is_made_listed_switched_and_deleted(site: Site) -> None:
    made = await site.cron(input={"n": 1}, additionalMetadata={"team": "blue"}, priority=3)
    assert (made.cron, made.name, made.enabled, made.method.value) == ("0 0 1 1 *", "mine", True, "API")
    assert (made.workflow_name, made.input, made.additional_metadata) == ("flow", {"n": 1}, {"team": "blue"})
    assert made.priority == 3
    path = f"{PLAIN}/workflows/crons/{made.metadata.id}"
    assert models.CronWorkflows.from_dict(await site.call("GET", path)) == made
    await site.call("PATCH", path, 204, json={"enabled": False})
    assert (await site.call("GET", path))["enabled"] is False
    await site.call("PATCH", path, 204, json={})
    await site.call("PATCH", path, 400, json={"enabled": "no"})
    await site.call("DELETE", path, 204)
    await site.call("DELETE", path, 404)
    await site.call("PATCH", path, 404, json={"enabled": True})
    await site.call("GET", path, 404)


async def test_crons_are_filtered_ordered_and_paged(site: Site) -> None:
    other = await site.register("other", cron_triggers=("5 * * * *",))
    for name in ("beta", "alpha", "gamma"):
        await site.cron(name, additionalMetadata={"team": name, "all": "yes"})
    path = f"{PLAIN}/workflows/crons"

    async def names(**query: Any) -> list[str | None]:
        found = models.CronWorkflowsList.from_dict(await site.call("GET", path, params=query))
        return [row.name for row in found.rows]

    assert await names(orderByField="name", orderByDirection="ASC", workflowName="flow") == [
        "alpha", "beta", "gamma"
    ]  # fmt: skip
    assert await names(orderByDirection="ASC", workflowName="flow") == ["beta", "alpha", "gamma"]
    assert await names(workflowName="flow") == ["gamma", "alpha", "beta"]
    assert await names(cronName="beta") == ["beta"]
    assert await names(additionalMetadata="team:alpha") == ["alpha"]
    assert await names(additionalMetadata=["team:alpha", "all:yes"]) == ["alpha"]
    assert await names(additionalMetadata=["team:alpha", "all:no"]) == []
    assert await names(workflowId=str(other)) == [None]
    page = await site.call("GET", path, params={"limit": 2, "offset": 2})
    assert page["pagination"] == {"current_page": 2, "next_page": 2, "num_pages": 2}
    assert len(page["rows"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cronExpression": "nope"}, "cronExpression"),
        ({"cronExpression": "0 0 31 2 *"}, "cronExpression"),
        ({"cronExpression": "CRON_TZ=Mars/X 0 0 * * *"}, "cronExpression"),
        ({"cronName": ""}, "cronName"),
        ({"input": []}, "input"),
        ({"priority": 4}, "priority"),
        ({"additionalMetadata": "x"}, "additionalMetadata"),
    ],
)
async def test_bad_cron_is_400_and_names_its_field(site: Site, body: dict[str, Any], field: str) -> None:
    whole = {"cronName": "n", "cronExpression": "* * * * *", "input": {}, "additionalMetadata": {}, **body}
    answer = await site.call("POST", f"{PLAIN}/workflows/flow/crons", 400, json=whole)
    assert field in answer["errors"][0]["description"]
    assert (await site.call("GET", f"{PLAIN}/workflows/crons"))["rows"] == []


async def test_same_cron_twice_is_400_and_an_unknown_workflow_404(site: Site) -> None:
    await site.cron()
    body = {"cronName": "mine", "cronExpression": "0 0 1 1 *", "input": {}, "additionalMetadata": {}}
    answer = await site.call("POST", f"{PLAIN}/workflows/flow/crons", 400, json=body)
    text = "cron trigger with that name-expression pair already exists"
    assert answer["errors"][0]["description"] == text
    await site.call("POST", f"{PLAIN}/workflows/nobody/crons", 404, json=body)


async def test_texts_that_the_database_cannot_hold_are_400_and_nothing_is_made(site: Site) -> None:
    head = '{"cronExpression":"* * * * *","input":{},"additionalMetadata":{},"cronName":'
    for name in ('"a\\u0000b"', '"a\\ud800b"', '"' + "x" * 300 + '"'):
        await site.call("POST", f"{PLAIN}/workflows/flow/crons", 400, content=head + name + "}")
    body = {"triggerAt": FAR, "input": {"a": "\x00"}, "additionalMetadata": {}}
    await site.call("POST", f"{PLAIN}/workflows/flow/scheduled", 400, json=body)
    whole = {"triggerAt": FAR, "input": {}, "additionalMetadata": {}}
    answer = await site.client.post(f"{PLAIN}/workflows/a%00b/scheduled", json=whole)
    assert answer.status_code in (400, 404), answer.text
    cron = {"cronExpression": "* * * * *", "cronName": "n", "input": {}, "additionalMetadata": {}}
    answer = await site.client.post(f"{PLAIN}/workflows/a%00b/crons", json=cron)
    assert answer.status_code in (400, 404), answer.text
    assert (await site.call("GET", f"{PLAIN}/workflows/scheduled"))["rows"] == []
    assert (await site.call("GET", f"{PLAIN}/workflows/crons"))["rows"] == []


async def test_cron_fires_and_its_run_is_listed(site: Site) -> None:
    made = await site.cron(expression="* * * * * *", additionalMetadata={"run": "me"})

    async def there() -> bool:
        query = {"since": "2020-01-01T00:00:00Z", "only_tasks": False, "additional_metadata": "run:me"}
        rows = (await site.call("GET", f"/api/v1/stable/tenants/{TENANT}/workflow-runs", params=query))[
            "rows"
        ]
        return bool(rows) and rows[0]["additionalMetadata"]["hatchet__cron_name"] == "mine"

    await until(there, "a run of the cron")
    await site.call("DELETE", f"{PLAIN}/workflows/crons/{made.metadata.id}", 204)


async def test_run_of_a_cron_can_be_started_by_hand(site: Site) -> None:
    made = await site.cron(input={"n": 5})
    answer = await site.call("POST", f"{PLAIN}/workflows/crons/{made.metadata.id}")
    run_id = models.TriggerRunResult.from_dict(answer).external_id
    run = await site.call("GET", f"/api/v1/stable/workflow-runs/{run_id}")
    assert run["run"]["input"] == {"input": {"n": 5}}


async def test_planned_run_is_made_moved_and_deleted(site: Site) -> None:
    made = await site.plan(additionalMetadata={"k": "v"}, priority=2)
    assert made.trigger_at == datetime(2031, 2, 3, 4, 5, 6, 789000, UTC)
    assert (made.input, made.additional_metadata, made.priority) == ({"a": 1}, {"k": "v"}, 2)
    assert (made.workflow_run_id, made.workflow_run_status, made.method.value) == (None, None, "API")
    path = f"{PLAIN}/workflows/scheduled/{made.metadata.id}"
    moved = await site.call("PATCH", path, json={"triggerAt": "2032-01-01T00:00:00+01:00"})
    assert models.ScheduledWorkflows.from_dict(moved).trigger_at == datetime(2031, 12, 31, 23, tzinfo=UTC)
    answer = await site.call("PATCH", path, 400, json={"triggerAt": "soon"})
    assert answer["errors"][0]["field"] == "triggerAt"
    await site.call("DELETE", path, 204)
    await site.call("DELETE", path, 404)
    await site.call("PATCH", path, 404, json={"triggerAt": FAR})


async def test_past_planned_run_starts_at_once_and_shows_its_run(site: Site) -> None:
    made = await site.plan("2020-01-01T00:00:00Z")
    path = f"{PLAIN}/workflows/scheduled/{made.metadata.id}"

    async def started() -> bool:
        return "workflowRunId" in await site.call("GET", path)

    await until(started, "the run")
    found = models.ScheduledWorkflows.from_dict(await site.call("GET", path))
    assert found.workflow_run_status.value == "QUEUED"
    assert found.workflow_run_name.startswith("flow-")
    run = await site.call("GET", f"/api/v1/stable/workflow-runs/{found.workflow_run_id}")
    assert run["run"]["input"] == {"input": {"a": 1}}
    await site.call("PATCH", path, 400, json={"triggerAt": FAR})
    await site.call("DELETE", path, 400)


async def test_planned_run_of_several_steps_starts_and_shows_how_it_stands(site: Site, dsn: str) -> None:
    steps = tuple(
        StepDefinition(id=UUID(int=n), name=f"s{n}", action=f"chain:s{n}", slots={}, parents=parents)
        for n, parents in ((1, ()), (2, ("s1",)))
    )
    definition = WorkflowDefinition(name="chain", steps=steps, cron_triggers=("* * * * * *",))
    await site.engine.put_workflow(TENANT, definition, Origin())
    body = {"triggerAt": "2020-01-01T00:00:00Z", "input": {"a": 1}, "additionalMetadata": {}}
    made = await site.call("POST", f"{PLAIN}/workflows/chain/scheduled", json=body)
    path = f"{PLAIN}/workflows/scheduled/{made['metadata']['id']}"

    async def started() -> bool:
        return "workflowRunStatus" in await site.call("GET", path)

    await until(started, "the run")
    found = models.ScheduledWorkflows.from_dict(await site.call("GET", path))
    assert found.workflow_run_status.value == "RUNNING"
    assert found.workflow_run_name.startswith("chain-")
    connection = await asyncpg.connect(dsn)

    async def fired() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM fire WHERE run_id IS NOT NULL"))

    await until(fired, "a run of the cron")
    assert await schedule_problems(connection) == []
    await connection.close()


async def test_planned_runs_are_filtered_and_ordered(site: Site) -> None:
    late = await site.plan(additionalMetadata={"n": "late"})
    soon = await site.plan("2030-01-01T00:00:00Z", additionalMetadata={"n": "soon"})
    past = await site.plan("2020-01-01T00:00:00Z", additionalMetadata={"n": "past"})
    names = {one.metadata.id: one.additional_metadata["n"] for one in (late, soon, past)}
    path = f"{PLAIN}/workflows/scheduled"

    async def found(**query: Any) -> list[str]:
        page = models.ScheduledWorkflowsList.from_dict(await site.call("GET", path, params=query))
        return [names[row.metadata.id] for row in page.rows]

    async def fired() -> bool:
        return await found(statuses="QUEUED") == ["past"]

    await until(fired, "the past one to be started")
    assert await found() == ["late", "soon", "past"]
    assert await found(orderByDirection="ASC") == ["past", "soon", "late"]
    assert await found(orderByField="createdAt") == ["past", "soon", "late"]
    assert await found(statuses="SCHEDULED") == ["late", "soon"]
    assert await found(statuses=["SCHEDULED", "QUEUED"]) == ["late", "soon", "past"]
    assert await found(statuses="SUCCEEDED") == []
    assert await found(additionalMetadata="n:soon") == ["soon"]
    assert await found(workflowId=str(ids.uuid7())) == []


async def test_bulk_changes_name_what_they_left(site: Site) -> None:
    one, two, three = [await site.plan(additionalMetadata={"n": str(n)}) for n in range(3)]
    stranger = str(ids.uuid7())
    path = f"{PLAIN}/workflows/scheduled"
    updates = [
        {"id": one.metadata.id, "triggerAt": "2033-01-01T00:00:00Z"},
        {"id": stranger, "triggerAt": FAR},
    ]
    answer = models.ScheduledWorkflowsBulkUpdateResponse.from_dict(
        await site.call("POST", f"{path}/bulk-update", json={"updates": updates})
    )
    assert answer.updated_ids == [one.metadata.id]
    assert [(error.id, error.error) for error in answer.errors] == [
        (stranger, "scheduled workflow run not found")
    ]
    deleted = models.ScheduledWorkflowsBulkDeleteResponse.from_dict(
        await site.call(
            "POST", f"{path}/bulk-delete", json={"scheduledWorkflowRunIds": [two.metadata.id, stranger]}
        )
    )
    assert deleted.deleted_ids == [two.metadata.id]
    assert len(deleted.errors) == 1
    by_filter = {"filter": {"additionalMetadata": ["n:2"]}}
    answer = await site.call("POST", f"{path}/bulk-delete", json=by_filter)
    assert answer == {"deletedIds": [three.metadata.id], "errors": []}
    await site.call("POST", f"{path}/bulk-delete", 400, json={})
    await site.call("POST", f"{path}/bulk-update", 400, json={"updates": []})
    assert len((await site.call("GET", path))["rows"]) == 1


async def test_workflow_is_paused_and_resumed(site: Site) -> None:
    workflow = await site.register("flow")
    path = f"/api/v1/workflows/{workflow}"
    pause = {
        "action": "pause",
        "pausedWorkflowQueueTTL": "1d7h30m",
        "pausedWorkflowCronRunQueueBehavior": "QUEUE",
        "pausedWorkflowScheduledRunQueueBehavior": "DROP",
    }
    answer = models.Workflow.from_dict(await site.call("PATCH", path, json={"pause": pause}))
    assert answer.is_paused is True
    assert answer.paused_workflow_cron_run_queue_behavior.value == "QUEUE"
    assert answer.paused_workflow_scheduled_run_queue_behavior.value == "DROP"
    kept = await site.ledger.schedules.get_pause(TENANT, workflow)
    assert kept is not None
    assert kept.ttl == timedelta(days=1, hours=7, minutes=30).total_seconds()
    listed = await site.call("GET", f"{PLAIN}/workflows")
    assert listed["rows"][0]["isPaused"] is True
    answer = await site.call("PATCH", path, json={"pause": {"action": "unpause"}})
    assert answer["isPaused"] is False
    for bad in ("", "soon", "-5s", None):
        wrong = {"pause": {"action": "pause", "pausedWorkflowQueueTTL": bad}}
        text = (await site.call("PATCH", path, 400, json=wrong))["errors"][0]["description"]
        assert "pausedWorkflowQueueTTL" in text
    await site.call("PATCH", f"/api/v1/workflows/{ids.uuid7()}", 404, json={"pause": pause})


async def test_deleted_workflow_is_gone_but_its_runs_stay(site: Site) -> None:
    workflow = await site.register("flow", cron_triggers=("0 0 1 1 *",))
    await site.plan()
    run_id = (await site.call("POST", f"{PLAIN}/workflows/crons/{(await site.cron()).metadata.id}"))[
        "externalId"
    ]
    path = f"/api/v1/workflows/{workflow}"
    await site.call("DELETE", path, 204)
    await site.call("DELETE", path, 404)
    await site.call("GET", path, 404)
    assert (await site.call("GET", f"{PLAIN}/workflows/crons"))["rows"] == []
    assert (await site.call("GET", f"{PLAIN}/workflows/scheduled"))["rows"] == []
    run = await site.call("GET", f"/api/v1/stable/workflow-runs/{run_id}")
    assert run["run"]["status"] == "QUEUED"
    body = {"workflowName": "flow", "input": {}, "additionalMetadata": {}}
    await site.call("POST", f"/api/v1/stable/tenants/{TENANT}/workflow-runs/trigger", 404, json=body)
    await site.register("flow", cron_triggers=("0 0 1 1 *",))
    assert len((await site.call("GET", f"{PLAIN}/workflows/crons"))["rows"]) == 1


async def test_other_tenants_ids_are_not_found(site: Site) -> None:
    cron, planned = await site.cron(), await site.plan()
    other = {"authorization": "Bearer other"}
    for path in (f"crons/{cron.metadata.id}", f"scheduled/{planned.metadata.id}"):
        await site.call("GET", f"{PLAIN}/workflows/{path}", 403, headers=other)
        await site.call("DELETE", f"/api/v1/tenants/{OTHER}/workflows/{path}", 404, headers=other)
    workflow = f"/api/v1/workflows/{await site.register('flow')}"
    await site.call("DELETE", workflow, 404, headers=other)
    await site.call("PATCH", workflow, 404, headers=other, json={"pause": {"action": "unpause"}})
    await site.call("GET", f"{PLAIN}/workflows/crons/{cron.metadata.id}")
    await site.call("GET", f"{PLAIN}/workflows/scheduled/{planned.metadata.id}")
