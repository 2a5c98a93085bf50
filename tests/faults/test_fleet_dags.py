"""Two engines on one database: runs of several steps, whoever is called and wherever the worker listens."""

import asyncio
import json

import pytest

from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.invariants import History, verify
from tests.faults import fleet
from tests.faults.conftest import NewCluster
from tests.faults.fleet import Results
from tests.faults.test_kill_dags import task
from tests.faults.wire import COMPLETED, Client, Got, RawWorker, patiently

TASKS = [task("duo", "a"), task("duo", "b", "a"), task("duo", "c", "a"), task("duo", "d", "b", "c")]


@pytest.mark.parametrize("worker_at", ["owner", "other"])
@pytest.mark.parametrize("client_at", ["owner", "other"])
async def test_run_of_several_steps_works_on_either_engine(
    new_cluster: NewCluster, worker_at: str, client_at: str
) -> None:
    cluster = await new_cluster()
    owner = await fleet.start(cluster)
    other = await fleet.start(cluster)
    history = History()
    places = {"owner": owner.address, "other": other.address}
    async with (
        Client(places[client_at], cluster.token, history) as client,
        Client(places[worker_at], cluster.token, history) as near,
        Results(places[client_at], cluster.token) as results,
    ):
        request = v1.CreateWorkflowVersionRequest(name="duo", tasks=TASKS)
        await client.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)
        actions = [one.action.removesuffix(":step") for one in TASKS]
        worker = await RawWorker.register(near, "duo", *actions)
        parents: dict[str, list[str]] = {}

        async def work(got: Got) -> None:
            sent = json.loads(got.raw.action_payload)
            parents[got.raw.task_name] = sorted(sent["parents"])
            await patiently(lambda: worker.report(got, COMPLETED, json.dumps({"of": got.raw.task_name})))

        worker.auto = work
        async with worker:
            run = await client.trigger("duo", number=1)
            results.add(run)
            assert len(await asyncio.wait_for(results.of(run), 30)) == 4
            assert parents == {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
            await cluster.until_value("SELECT count(*) FROM run WHERE finished_at IS NULL", 0, 20.0)
            await cluster.until_settled(20)
            await verify(cluster.dsn, history)
