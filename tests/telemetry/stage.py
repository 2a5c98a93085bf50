"""Real server processes with a collector, and a caller and a worker on plain gRPC."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from broadaxe.grpc_api.wire import dispatcher_pb2 as dp
from broadaxe.grpc_api.wire import workflows_pb2 as wf
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.grpc_api.wire.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from broadaxe.telemetry.context import run_trace_id
from broadaxe.telemetry.receiver import ReceivedSpan
from broadaxe.testkit.collector import Collector
from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases
from broadaxe.testkit.invariants import History
from broadaxe.testkit.trace_assert import Rules
from tests.faults.cluster import Cluster, running
from tests.faults.wire import Client, Got, RawWorker

OURS = frozenset(("server", "engine", "api"))
"""Service names of the processes under test."""
PREFIX = "hatchet.run/"

QUICK_EXPORT = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""Spans are sent as soon as they are there."""


def whole_rules(outside: frozenset[str] = frozenset(), **more: Any) -> Rules:
    """What traces of ours must hold; `outside`: span ids of callers and workers that export nothing."""
    return Rules(
        services=OURS,
        outside=outside,
        # Runs and attempts end when their end was reported and judged; the commit that makes it durable, the
        # order to stop and the result that is handed on come after that, and so does a replay.
        may_start_late=frozenset(
            PREFIX + name
            for name in (
                "commit-wait",
                "flush",
                "send-cancel",
                "deliver-result",
                "queue-wait",
                "attempt",
                "reassign",
            )
        ),
        kinds_may_start_late=frozenset(("SERVER",)),
        **more,
    )


def item(workflow: str, metadata: str | None = None, **more: Any) -> TriggerWorkflowRequest:
    """A request for one run."""
    more.setdefault("input", "{}")
    if metadata is not None:
        more["additional_metadata"] = metadata
    return TriggerWorkflowRequest(name=workflow, **more)


class Caller(Client):
    """A client, with a `traceparent` in the metadata of each call when it has one."""

    def __init__(self, address: str, token: str, traceparent: str | None = None) -> None:
        super().__init__(address, token, History())
        if traceparent is not None:
            self._metadata += (("traceparent", traceparent),)

    async def put(self, name: str, **step: Any) -> None:
        """Register a workflow of one task with these options of its step."""
        options = {"timeout": "30s", "schedule_timeout": "60s", "inputs": "{}", **step}
        task = v1.CreateTaskOpts(readable_id="step", action=f"{name}:step", **options)
        request = v1.CreateWorkflowVersionRequest(name=name, tasks=[task])
        await self.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)

    async def start(self, workflow: str, metadata: str | None = None, **more: Any) -> UUID:
        """Start a run by the call that SDKs use."""
        request = item(workflow, metadata, **more)
        reply = await self.call("/WorkflowService/TriggerWorkflow", request, wf.TriggerWorkflowResponse)
        return UUID(reply.workflow_run_id)

    async def start_many(self, items: list[TriggerWorkflowRequest]) -> list[UUID]:
        """Start runs in one call; each item is made by `item`."""
        request = wf.BulkTriggerWorkflowRequest(workflows=items)
        reply = await self.call(
            "/WorkflowService/BulkTriggerWorkflow", request, wf.BulkTriggerWorkflowResponse, 30.0
        )
        return [UUID(one) for one in reply.workflow_run_ids]

    async def replay(self, *ids: UUID) -> None:
        """Run final tasks again."""
        request = v1.ReplayTasksRequest(external_ids=[str(one) for one in ids])
        reply = await self.call("/v1.AdminService/ReplayTasks", request, v1.ReplayTasksResponse)
        assert len(reply.replayed_tasks) == len(ids)

    async def results(self, *ids: UUID) -> None:
        """Wait until the results of all these runs came over one stream."""

        async def ask() -> AsyncIterator[bytes]:
            for one in ids:
                yield dp.SubscribeToWorkflowRunsRequest(workflow_run_id=str(one)).SerializeToString()
            await asyncio.Event().wait()

        call = self._channel.stream_stream("/Dispatcher/SubscribeToWorkflowRuns", None, None)(
            ask(), metadata=self._metadata
        )
        waiting = {str(one) for one in ids}
        async with asyncio.timeout(30):
            async for raw in call:
                waiting.discard(dp.WorkflowRunEvent.FromString(raw).workflow_run_id)
                if not waiting:
                    break
        call.cancel()


async def report(worker: RawWorker, got: Got, kind: int, payload: str = "", **more: Any) -> None:
    """Report as `RawWorker.report`, with more fields of the event."""
    request = dp.StepActionEvent(
        worker_id=worker.id,
        task_run_external_id=str(got.task_id),
        action_id=got.raw.action_id,
        event_type=kind,  # type: ignore[arg-type]
        event_payload=payload,
        retry_count=got.attempt,
        **more,
    )
    await worker._client.call("/Dispatcher/SendStepActionEvent", request, dp.ActionEventResponse, 30.0)


class Stage:
    """A prepared cluster whose processes export to one collector."""

    def __init__(self, cluster: Cluster, collector: Collector) -> None:
        self.cluster = cluster
        self.collector = collector
        self._numbers = itertools.count()
        self._stack = AsyncExitStack()

    def caller(self, traceparent: str | None = None) -> Caller:
        """A client of the cluster's tenant."""
        return Caller(self.cluster.address, self.cluster.token, traceparent)

    async def worker(self, *workflows: str, client: Caller, slots: int = 200) -> RawWorker:
        """A worker whose session is open: what is triggered now is born assigned."""
        name = f"worker-{next(self._numbers)}"
        request = dp.WorkerRegisterRequest(
            worker_name=name,
            actions=[f"{one}:step" for one in workflows],
            slot_config={"default": slots},
            runtime_info=dp.RuntimeInfo(sdk_version=name),
        )
        reply = await client.call("/Dispatcher/Register", request, dp.WorkerRegisterResponse)
        worker = RawWorker(client, name, reply.worker_id)
        await worker.listen()

        async def open_there() -> bool:
            metrics = await self.cluster.metrics()
            return any("active_sdks" in key and f'"{name}"' in key and metrics[key] for key in metrics)

        await until(open_there, f"the session of {name}")
        return worker

    async def stop_all(self) -> None:
        """SIGTERM every process: whatever they recorded is at the collector afterwards."""
        for process in self.cluster.processes:
            if process.running:
                assert await process.stop(20.0) == 0, process.output()

    def trace(self, trace_id: bytes | str) -> list[ReceivedSpan]:
        """The spans of one trace, each once, by start."""
        wanted = trace_id if isinstance(trace_id, str) else trace_id.hex()
        return self.collector.traces().get(wanted, [])

    def trace_of(self, run_id: UUID) -> list[ReceivedSpan]:
        """The trace of a run without a caller."""
        return self.trace(run_trace_id(run_id))

    async def rest(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request to the REST port; `{tenant}` in the path is filled in."""
        headers = {"authorization": f"Bearer {self.cluster.token}", **more.pop("headers", {})}
        url = f"http://127.0.0.1:{self.cluster.rest_port}" + path.format(tenant=self.cluster.tenant_id)
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.request(method, url, headers=headers, **more)


@asynccontextmanager
async def staged(databases: Databases, folder: Path, **env: str) -> AsyncIterator[Stage]:
    """A stage on a database of its own; `env`: settings of its processes. Nothing is started yet."""
    dsn = await databases.empty()
    async with Collector() as collector:
        settings = {
            "SERVER_OTEL_COLLECTOR_URL": collector.target,
            "SERVER_OTEL_INSECURE": "true",
            **QUICK_EXPORT,
            **env,
        }
        try:
            async with running(dsn, folder, **settings) as cluster:
                yield Stage(cluster, collector)
        finally:
            await databases.drop(dsn)
