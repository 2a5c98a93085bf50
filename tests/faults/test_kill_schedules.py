"""kill -9 around due times: each of them has one run or is noted as skipped, and planned runs start."""

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from broadaxe.grpc_api.wire import workflows_pb2 as wf
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.schedule_invariants import schedule_problems
from tests.faults import fleet
from tests.faults.cluster import OWNS, READY, Cluster
from tests.faults.conftest import SOAK
from tests.faults.wire import COMPLETED, Client, Got, RawWorker

KILLS = 20 if SOAK else 4
PLANNED = 60


async def register(client: Client) -> None:
    """A workflow that crons start every second, and every other one."""
    task = v1.CreateTaskOpts(readable_id="step", action="herd:step", timeout="30s", inputs="{}")
    request = v1.CreateWorkflowVersionRequest(
        name="herd",
        tasks=[task],
        cron_triggers=["* * * * * *", "*/2 * * * * *", "CRON_TZ=Asia/Kolkata * * * * * *"],
        cron_input='{"by":"cron"}',
    )
    await client.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)


async def plan(client: Client) -> None:
    """Runs for moments of the time ahead, some past."""
    now = datetime.now(UTC)
    request = wf.ScheduleWorkflowRequest(name="herd", input="{}")
    for number in range(PLANNED):
        request.schedules.add().FromDatetime(now + timedelta(milliseconds=250 * (number - 4)))
    reply = await client.call("/WorkflowService/ScheduleWorkflow", request, wf.WorkflowVersion)
    assert len(reply.scheduled_workflows) == PLANNED


async def fires(cluster: Cluster) -> int:
    count = await cluster.value(
        "SELECT (SELECT count(*) FROM fire) + (SELECT count(run_id) FROM scheduled_run)"
    )
    assert isinstance(count, int)
    return count


async def more_fires(cluster: Cluster, by: int) -> None:
    """Until so many more due times were dealt with."""
    before = await fires(cluster)

    async def enough() -> bool:
        return await fires(cluster) >= before + by

    await until(enough, f"{by} more due times", 30.0, period=0.02)


@pytest.mark.slow
async def test_engine_killed_around_due_times_each_is_dealt_with_once(cluster: Cluster) -> None:
    dice = random.Random(7)
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await register(client)
        worker = await RawWorker.register(client, "worker", "herd", slots=500)

        async def finish(got: Got) -> None:
            await worker.report(got, COMPLETED, "{}")

        worker.auto = finish
        await worker.listen()
        await plan(client)
        for _ in range(KILLS):
            await more_fires(cluster, dice.randint(1, 12))
            await cluster.kill(engine)
            if dice.randrange(2):
                engine = await cluster.launch()
                await engine.wait_line(OWNS, 30.0)
                await cluster.kill(engine)
            engine = await cluster.start()
        await more_fires(cluster, 8)

        async def all_planned() -> bool:
            return await cluster.value("SELECT count(*) FROM scheduled_run WHERE settled_at IS NULL") == 0

        await until(all_planned, "every planned run to be started", 60.0)
        # No further cron: what has been started can end.
        bare = v1.CreateWorkflowVersionRequest(name="herd", description="without crons")
        bare.tasks.add(readable_id="step", action="herd:step", timeout="30s", inputs="{}")
        connection = await asyncpg.connect(cluster.dsn)
        try:
            problems = await schedule_problems(connection, settled_by=datetime.now(UTC))
            assert not problems, "\n".join(problems[:20])
            await client.call("/v1.AdminService/PutWorkflow", bare, v1.CreateWorkflowVersionResponse)
            await cluster.until_settled(60)
        finally:
            await connection.close()
        await verify(cluster.dsn, client.history)
        runs, distinct = (
            await cluster.fetch("SELECT count(*), count(DISTINCT run_id) FROM fire WHERE run_id IS NOT NULL")
        )[0]
        assert runs == distinct > 0
        started = await cluster.value("SELECT count(*) FROM task")
        assert started == runs + PLANNED
        await worker.die()


@pytest.mark.slow
async def test_two_engines_killed_in_turn_each_due_time_is_dealt_with_once(cluster: Cluster) -> None:
    dice = random.Random(11)
    members = [await fleet.start(cluster), await fleet.start(cluster)]
    async with Client(members[0].address, cluster.token, History()) as client:
        await register(client)
        await plan(client)
    for _ in range(KILLS):
        await more_fires(cluster, dice.randint(1, 8))
        # Whoever schedules the tenant, the other one takes over at once.
        number = dice.randrange(2)
        await cluster.kill(members[number].process)
        await more_fires(cluster, dice.randint(1, 8))
        members[number] = await fleet.launch(cluster, members[number])
        await members[number].process.wait_line(READY, 30.0)
    await more_fires(cluster, 8)
    connection = await asyncpg.connect(cluster.dsn)
    try:
        problems = await schedule_problems(connection)
    finally:
        await connection.close()
    assert not problems, "\n".join(problems[:20])
    missed = await cluster.value("SELECT count(*) FROM fire WHERE reason IS NOT NULL")
    assert missed == 0, "take-overs are shorter than the grace, so nothing is missed"
