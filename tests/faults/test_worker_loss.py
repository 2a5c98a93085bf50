"""Workers that are killed, silent or late: their tasks go elsewhere once, what they say later is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.clock import SystemClock
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import Cluster
from tests.faults.conftest import NewCluster, soak
from tests.faults.sdk_worker import WORKFLOW
from tests.faults.storm import PYTHON
from tests.faults.wire import Client, Code, RawWorker

FLOW = "loss"
DEAD_AFTER = 8.0
"""A worker beats every second: this machine may stand still for the rest."""
SILENT_AFTER = 3.0
clock = SystemClock()


@pytest.fixture
async def cluster(new_cluster: NewCluster) -> Cluster:
    made = await new_cluster(
        SERVER_WORKER_DEAD_AFTER=f"{DEAD_AFTER}s", SERVER_WORKER_SILENT_AFTER=f"{SILENT_AFTER}s"
    )
    await made.start()
    return made


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster.address, cluster.token, History()) as made:
        await made.put_workflow(FLOW, retries=1, timeout="60s")
        yield made


async def settle(cluster: Cluster, client: Client) -> None:
    await cluster.until_settled(40)
    await verify(cluster.dsn, client.history)


async def test_dead_worker_tasks_go_to_another_and_its_late_result_is_refused(
    cluster: Cluster, client: Client
) -> None:
    first = await RawWorker.register(client, "first", FLOW, slots=1)
    second = await RawWorker.register(client, "second", FLOW, slots=1)
    async with first:
        run_id = await client.trigger(FLOW)
        start = await first.start_of(run_id, 0)
    async with second:
        again = await second.start_of(run_id, 1)
        assert DEAD_AFTER <= again.at - first.beaten_at <= DEAD_AFTER + 20.0
        # As if the first had only been out of reach: what it says is answered OK and changes nothing.
        await first.complete(start, '{"late": true}')
        assert await cluster.value("SELECT state FROM task WHERE id = $1", run_id) == 3
        await second.complete(again, '{"late": false}')
        await settle(cluster, client)
    assert await cluster.value("SELECT output FROM task WHERE id = $1", run_id) == b'{"late": false}'

    async def counted() -> bool:
        return sum(value for name, value in (await cluster.metrics()).items() if "stale" in name) == 1

    await until(counted, "the stale result in the metrics", period=0.1)
    # A lost worker costs none of the retries that the user gave the task.
    rows = await cluster.fetch("SELECT app_retries, internal_retries FROM task WHERE id = $1", run_id)
    assert tuple(rows[0]) == (0, 1)


async def test_silent_worker_gets_no_new_work_until_it_beats_again(cluster: Cluster, client: Client) -> None:
    worker = await RawWorker.register(client, "silent", FLOW, slots=10)
    worker.auto = worker.complete
    async with worker:
        await client.trigger(FLOW)
        await cluster.until_settled(20)
        await worker.fall_silent()
        quiet = clock.monotonic() + SILENT_AFTER + 0.3
        await until(lambda: clock.monotonic() > quiet, "silence")
        waiting = await client.trigger(FLOW)
        assert await cluster.value("SELECT state FROM task WHERE id = $1", waiting) == 1
        assert worker.find(waiting) is None
        worker.begin()
        await worker.start_of(waiting, 0)
        await settle(cluster, client)


async def test_session_that_dies_with_unsent_messages_sends_them_on_the_next(
    cluster: Cluster, client: Client
) -> None:
    """The client's flow control stops the stream: messages wait in the outbox when the connection dies."""
    async with Client(cluster.address, cluster.token, client.history) as stalled:
        reader = await RawWorker.register(stalled, "stalled", FLOW, slots=400)
        await reader.listen()
        gate = asyncio.Event()
        reader.hold = gate
        big = "x" * 60_000
        runs = [run for _ in range(4) for run in await client.trigger_many(FLOW, 50, text=big)]
        await cluster.until_value("SELECT count(*) FROM task WHERE state = 3", 200)
        await reader.die()
    got_before = {got.task_id for got in reader.got if got.start}
    assert len(got_before) < 200
    # The same worker comes back over another connection, as an SDK would.
    again = RawWorker(client, "back", reader.id)
    again.auto = again.complete
    async with again:
        await asyncio.gather(*(again.complete(got) for got in reader.got))
        await cluster.until_settled(60)
    assert {task for task, _, _ in client.history.starts} == set(runs)
    await verify(cluster.dsn, client.history)


@soak
async def test_sdk_worker_killed_its_tasks_run_elsewhere_and_end(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    # The SDK's worker beats every four seconds: it is not to be taken for dead between two beats.
    cluster = await new_cluster(SERVER_WORKER_DEAD_AFTER="10s")
    await cluster.start()
    notes = tmp_path / "notes.jsonl"
    notes.touch()

    async def start(name: str) -> ChildProcess:
        env = {
            **cluster.client_env,
            "NOTES": str(notes),
            "WORKER_NAME": name,
            "SLOTS": "5",
            "PYTHONUNBUFFERED": "1",
        }
        return await ChildProcess.start(*PYTHON.command, env=env, name=name, cwd=tmp_path)

    def noted() -> list[dict[str, object]]:
        return [json.loads(line) for line in notes.read_text().splitlines()]

    listening = "SELECT count(*) FROM worker WHERE listening_since IS NOT NULL"
    async with Client(cluster.address, cluster.token, History()) as client, await start("first") as first:
        await cluster.until_value(listening, 1, 30.0)
        runs = await client.trigger_many(WORKFLOW, 5, seconds=2.0)
        await until(lambda: len(noted()) == 5, "five tasks under way", 20.0)
        first.kill_group()
        await first.wait()
        async with await start("second"):
            await cluster.until_settled(40)
            for line in noted():
                client.history.starts.append(
                    (UUID(str(line["task"])), int(str(line["attempt"])), str(line["worker"]))
                )
            await verify(cluster.dsn, client.history)
    rows = await cluster.fetch("SELECT attempt, state FROM task")
    assert [tuple(row) for row in rows] == [(1, 10)] * 5
    assert {UUID(str(line["task"])) for line in noted()} == set(runs)


async def test_heartbeat_after_the_stream_died_tells_the_worker_to_open_it_again(
    cluster: Cluster, client: Client
) -> None:
    worker = await RawWorker.register(client, "deaf", FLOW)
    async with worker:
        # What it was sent shows that its stream is open.
        await worker.complete(await worker.start_of(await client.trigger(FLOW)))
        await worker.stop_listening()
        await worker.wait(
            lambda: worker.beat_answers[-1] is Code.FAILED_PRECONDITION, "a heartbeat that is refused"
        )
        run_id = await client.trigger(FLOW)
        assert await cluster.value("SELECT state FROM task WHERE id = $1", run_id) == 1
        worker.begin()
        await worker.complete(await worker.start_of(run_id, 0))
        await settle(cluster, client)
