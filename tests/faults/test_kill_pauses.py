"""kill -9 around pauses: a pause, its end and its patience that were answered hold for the next process."""

from uuid import UUID

import httpx

from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import Cluster
from tests.faults.conftest import NewCluster
from tests.faults.wire import STARTED, Client, Got, RawWorker, until_state

FLOW, OTHER = "flow", "other"


async def change(cluster: Cluster, **pause: str) -> None:
    """Pause or resume the workflow; answered when it is committed."""
    workflow = await cluster.value("SELECT id FROM workflow WHERE name = $1", FLOW)
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.patch(
            f"http://127.0.0.1:{cluster.rest_port}/api/v1/workflows/{workflow}",
            json={"pause": pause},
            headers={"authorization": f"Bearer {cluster.token}"},
        )
    assert answer.status_code == 200, answer.text


async def again(cluster: Cluster, process: ChildProcess) -> ChildProcess:
    """kill -9, and the next one."""
    await cluster.kill(process)
    return await cluster.start("server")


async def test_pause_and_resumption_outlive_kills_and_every_run_ends_once(new_cluster: NewCluster) -> None:
    cluster = await new_cluster(SERVER_IN_DOUBT_WAIT="300ms")
    server = await cluster.start("server")
    async with Client(cluster.address, cluster.token, History()) as client:
        for name in (FLOW, OTHER):
            await client.put_workflow(name, retries=1)
        worker = await RawWorker.register(client, "one", FLOW, OTHER, slots=3)
        held: set[UUID] = set()

        async def finish(got: Got) -> None:
            if got.task_id not in held:
                await worker.complete(got)

        async def nothing_started(runs: list[UUID]) -> None:
            # What the engine gives away goes in turn: a run that comes later and is not paused passes by.
            worker.auto = finish
            await worker.start_of(await client.trigger_patiently(OTHER))
            assert not [run for run in runs if worker.find(run) is not None]

        async with worker:
            running = await client.trigger(FLOW)
            held.add(running)
            start = await worker.start_of(running)
            await worker.report(start, STARTED)
            await change(cluster, action="pause", pausedWorkflowQueueTTL="1h")
            server = await again(cluster, server)
            waiting = [await client.trigger_patiently(FLOW, number=number) for number in range(5)]
            await nothing_started(waiting)
            held.clear()
            await worker.complete(start)
            await until_state(client, running, v1.RunStatus.COMPLETED)
            server = await again(cluster, server)
            await nothing_started(waiting)
            await change(cluster, action="unpause")
            server = await again(cluster, server)
            for run in waiting:
                await worker.start_of(run)
            await cluster.until_settled(60)
            for run in waiting:
                await until_state(client, run, v1.RunStatus.COMPLETED)
            await verify(cluster.dsn, client.history)


async def test_patience_of_a_pause_goes_on_over_a_kill(new_cluster: NewCluster) -> None:
    cluster = await new_cluster()
    server = await cluster.start("server")
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW)
        worker = await RawWorker.register(client, "one", FLOW)
        async with worker:
            await change(cluster, action="pause", pausedWorkflowQueueTTL="1s")
            runs = [await client.trigger(FLOW) for _ in range(3)]
            await again(cluster, server)
            for run in runs:
                await until_state(client, run, v1.RunStatus.CANCELLED)
            await change(cluster, action="unpause")
            last = await client.trigger(FLOW)
            await worker.complete(await worker.start_of(last))
            assert [got.task_id for got in worker.got] == [last], "what was cancelled never starts"
            await cluster.until_settled()
            await verify(cluster.dsn, client.history)
