"""Several engines on one database, each with ports of its own, that a test starts and kills."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc.aio

from broadaxe.grpc_api.wire import dispatcher_pb2 as dp
from broadaxe.grpc_api.wire import events_pb2 as ev
from broadaxe.testkit.ports import free_ports
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import READY, Cluster


@dataclass
class Member:
    """One engine."""

    process: ChildProcess
    address: str
    """Of its gRPC port."""
    health_port: int
    metrics_port: int
    env: dict[str, str]


async def launch(cluster: Cluster, member: Member | None = None, **env: str) -> Member:
    """Start an engine beside the others; in the place of another one, at its address, if that is given."""
    if member is None:
        grpc_port, health_port, metrics_port = free_ports(3)
    else:
        grpc_port = int(member.address.rpartition(":")[2])
        health_port, metrics_port, env = member.health_port, member.metrics_port, member.env
    ports = {
        "SERVER_GRPC_PORT": str(grpc_port),
        "SERVER_HEALTHCHECK_PORT": str(health_port),
        "SERVER_PROMETHEUS_ADDRESS": f"127.0.0.1:{metrics_port}",
    }
    process = await cluster.launch("engine", **{**ports, **env})
    return Member(process, f"127.0.0.1:{grpc_port}", health_port, metrics_port, env)


async def start(cluster: Cluster, **env: str) -> Member:
    """Start an engine beside the others and wait until it takes calls."""
    member = await launch(cluster, **env)
    await member.process.wait_line(READY, 30.0)
    return member


async def shares(cluster: Cluster) -> dict[UUID, int]:
    """How many partitions each engine owns."""
    rows = await cluster.fetch("SELECT engine_id, count(*) FROM lease WHERE released_at IS NULL GROUP BY 1")
    return {row[0]: row[1] for row in rows}


class Results:
    """A pooled wait for the results of runs, on one engine."""

    def __init__(self, address: str, token: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._metadata = (("authorization", f"bearer {token}"),)
        self._ids: asyncio.Queue[UUID] = asyncio.Queue()
        self.outputs: dict[UUID, Sequence[str]] = {}
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Results":
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._channel.close()

    def add(self, run_id: UUID) -> None:
        """Wait for a run."""
        self._ids.put_nowait(run_id)

    async def of(self, run_id: UUID, timeout: float = 30.0) -> Sequence[str]:
        """The outputs of a run that was added, or the error texts."""
        try:
            async with asyncio.timeout(timeout), self._news:
                while run_id not in self.outputs:
                    await self._news.wait()
                return self.outputs[run_id]
        except TimeoutError:
            raise AssertionError(f"no result of {run_id} in {timeout:g} s") from None

    async def _requests(self) -> AsyncIterator[bytes]:
        while True:
            run_id = await self._ids.get()
            yield dp.SubscribeToWorkflowRunsRequest(workflow_run_id=str(run_id)).SerializeToString()

    async def _read(self) -> None:
        stream = self._channel.stream_stream("/Dispatcher/SubscribeToWorkflowRuns", None, None)
        async for raw in stream(self._requests(), metadata=self._metadata):
            event = dp.WorkflowRunEvent.FromString(raw)
            async with self._news:
                self.outputs[UUID(event.workflow_run_id)] = [one.output or one.error for one in event.results]
                self._news.notify_all()


async def watched(client: Any, run_id: UUID, first: asyncio.Event) -> list[tuple[int, str]]:
    """What a watcher of a run is told until it is hung up: event type and payload. `first`: set with the
    first of it."""
    call = client.stream(
        "/Dispatcher/SubscribeToWorkflowEvents",
        dp.SubscribeToWorkflowEventsRequest(workflow_run_id=str(run_id)),
    )
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(30):
        async for raw in call:
            event = dp.WorkflowEvent.FromString(raw)
            found.append((event.event_type, event.event_payload))
            first.set()
            if event.hangup:
                break
    return found


async def stream(client: Any, task_id: UUID, text: str, index: int | None = None) -> None:
    """A chunk of a task's stream; one without an index passes at once."""
    request = ev.PutStreamEventRequest(
        task_run_external_id=str(task_id), message=text.encode(), event_index=index
    )
    request.created_at.GetCurrentTime()
    await client.call("/EventsService/PutStreamEvent", request, ev.PutStreamEventResponse)
