"""The official SDK's generated HTTP client against the real listener: what it writes is understood."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from rows import TENANT, WORKER, completed, now
from test_rest_reads import LedgerCommands, Tokens, Unmeasured, task_of, version  # noqa: F401

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.rest_api.app import build_app
from broadaxe.rest_api.server import RestServer
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.postgres_reads import PostgresReads
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.views.store_views import StoreViews

sdk = pytest.importorskip("hatchet_sdk.clients.rest", reason="hatchet-sdk is not installed")


async def test_sdk_client_reads_and_changes(
    ledger: PostgresLedger,
    version: WorkflowVersion,  # noqa: F811
) -> None:
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
    server = RestServer(app)
    await server.start()
    task = task_of(version, TaskState.ASSIGNED, input=b'{"n":1}')
    await ledger.create_tasks([task], patience=30)
    await ledger.write_task(completed(task))
    run_id, tenant = str(task.facts.id), str(TENANT)

    def use() -> None:
        from hatchet_sdk.clients.rest.api.log_api import LogApi
        from hatchet_sdk.clients.rest.api.task_api import TaskApi
        from hatchet_sdk.clients.rest.api.tenant_api import TenantApi
        from hatchet_sdk.clients.rest.api.worker_api import WorkerApi
        from hatchet_sdk.clients.rest.api.workflow_api import WorkflowApi
        from hatchet_sdk.clients.rest.api.workflow_runs_api import WorkflowRunsApi
        from hatchet_sdk.clients.rest.models.v1_cancel_task_request import V1CancelTaskRequest
        from hatchet_sdk.clients.rest.models.v1_task_filter import V1TaskFilter
        from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
        from hatchet_sdk.clients.rest.models.v1_trigger_workflow_run_request import (
            V1TriggerWorkflowRunRequest,
        )

        config = sdk.Configuration(host=f"http://127.0.0.1:{server.port}", access_token="good")
        config.datetime_format = "%Y-%m-%dT%H:%M:%S.%fZ"
        since, done = now() - timedelta(hours=1), [V1TaskStatus.COMPLETED]
        with sdk.ApiClient(config) as client:
            runs: Any = WorkflowRunsApi(client)
            tasks: Any = TaskApi(client)
            listed = runs.v1_workflow_run_list(
                tenant=tenant, since=since, only_tasks=True, limit=5, until=now() + timedelta(hours=1),
                statuses=done, workflow_ids=[str(version.workflow_id)], worker_id=str(WORKER),
                additional_metadata=["team:blue", "no:thing"], include_payloads=True,
            )  # fmt: skip
            assert [row.metadata.id for row in listed.rows] == [run_id]
            assert runs.v1_workflow_run_external_ids_list(tenant=tenant, since=since, statuses=done) == [
                run_id
            ]
            assert runs.v1_workflow_run_get(run_id).run.output == {"result": "done and well"}
            assert runs.v1_workflow_run_get_status(run_id) is V1TaskStatus.COMPLETED
            assert tasks.v1_task_get(run_id).input == {"input": {"n": 1}}
            assert len(tasks.v1_task_event_list(run_id).rows) >= 4
            metrics = tasks.v1_task_list_status_metrics(tenant=tenant, since=since)
            assert {m.status: m.count for m in metrics}[V1TaskStatus.COMPLETED] == 1
            request = V1CancelTaskRequest(filter=V1TaskFilter(since=since, statuses=done))
            assert tasks.v1_task_cancel(tenant=tenant, v1_cancel_task_request=request).ids == [run_id]
            made = runs.v1_workflow_run_create(
                tenant=tenant,
                v1_trigger_workflow_run_request=V1TriggerWorkflowRunRequest(
                    workflowName="Greet", input={"a": 1}, additionalMetadata={"k": "v"}, priority=2
                ),
            )
            assert made.run.additional_metadata == {"k": "v"}
            assert LogApi(client).v1_log_line_list(task=run_id, limit=1000).rows == []
            assert WorkflowApi(client).workflow_list(tenant).rows[0].name == "Greet"
            assert WorkerApi(client).worker_list(tenant).rows == []
            assert TenantApi(client).tenant_get_step_run_queue_metrics(tenant).queues
            with pytest.raises(sdk.exceptions.NotFoundException):
                tasks.v1_task_get(str(SystemIds().uuid7()))

    try:
        await asyncio.to_thread(use)
    finally:
        await server.stop()
