"""Several engines on one database: every call works on each of them, whoever schedules the tenant."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest

from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.conditions import until
from broadaxe.testkit.fifo import Fifo
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.stalls import within
from tests.faults import fleet
from tests.faults.cluster import READY, Cluster
from tests.faults.conftest import NewCluster
from tests.faults.fleet import Member, Results
from tests.faults.wire import FAILED, Client, RawWorker, Refused, until_state

FLOW = "flow"
TAKE_OVER = 3.0


@dataclass
class Pair:
    """Two engines; the first one schedules."""

    cluster: Cluster
    owner: Member
    other: Member
    at_owner: Client
    at_other: Client

    async def settle(self) -> None:
        await self.cluster.until_settled(40)
        await verify(self.cluster.dsn, self.at_owner.history)

    async def on_other(self, worker: RawWorker) -> None:
        """Wait until the stream is open: the worker's row names its engine."""
        await self.cluster.until_value(
            "SELECT listening_since IS NOT NULL FROM worker WHERE id = $1::uuid", True, 20.0, worker.id
        )


@pytest.fixture
async def pair(new_cluster: NewCluster) -> AsyncIterator[Pair]:
    cluster = await new_cluster()
    owner = await fleet.start(cluster)
    other = await fleet.start(cluster)
    history = History()
    async with (
        Client(owner.address, cluster.token, history) as at_owner,
        Client(other.address, cluster.token, history) as at_other,
    ):
        await at_owner.put_workflow(FLOW, retries=2)
        yield Pair(cluster, owner, other, at_owner, at_other)


async def test_trigger_on_the_other_engine_runs_at_the_owners_worker_and_its_result_comes_back(
    pair: Pair,
) -> None:
    worker = await RawWorker.register(pair.at_owner, "one", FLOW)
    async with worker, Results(pair.other.address, pair.cluster.token) as results:
        run_id = await pair.at_other.trigger(FLOW, number=1)
        results.add(run_id)
        start = await worker.start_of(run_id, 0)
        assert start.input == {"number": 1}
        await worker.complete(start, '{"done": 1}')
        assert list(await results.of(run_id)) == ['{"done": 1}']
        await until_state(pair.at_other, run_id, v1.RunStatus.COMPLETED)
        await pair.settle()


async def test_worker_on_the_other_engine_gets_starts_and_cancels_and_reports_there(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_other, "one", FLOW)
    async with worker, Results(pair.owner.address, pair.cluster.token) as results:
        runs = [await client.trigger(FLOW) for client in (pair.at_owner, pair.at_other)]
        for run_id in runs:
            results.add(run_id)
            start = await worker.start_of(run_id, 0)
            await worker.report(start, 1)
            await worker.complete(start, '{"ok": true}')
            assert list(await results.of(run_id)) == ['{"ok": true}']
        failing = await pair.at_owner.trigger(FLOW)
        await worker.report(await worker.start_of(failing, 0), FAILED, "no")
        await worker.complete(await worker.start_of(failing, 1))
        cancelled = await pair.at_owner.trigger(FLOW)
        start = await worker.start_of(cancelled, 0)
        assert await pair.at_owner.cancel(cancelled) == [cancelled]
        assert (await worker.cancel_of(cancelled, 0)).task_id == start.task_id
        await pair.settle()


async def test_cancel_and_replay_on_the_other_engine(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_owner, "one", FLOW)
    waiting = await pair.at_owner.trigger("flow")
    assert await pair.at_other.cancel(waiting) == [waiting]
    async with worker:
        run_id = await pair.at_owner.trigger(FLOW)
        start = await worker.start_of(run_id, 0)
        assert await pair.at_other.cancel(run_id) == [run_id]
        await worker.cancel_of(run_id, 0)
        await worker.complete(start)
        await until_state(pair.at_owner, run_id, v1.RunStatus.CANCELLED)
        request = v1.ReplayTasksRequest(external_ids=[str(run_id)])
        reply = await pair.at_other.call("/v1.AdminService/ReplayTasks", request, v1.ReplayTasksResponse)
        assert list(reply.replayed_tasks) == [str(run_id)]
        pair.at_owner.history.replayed.add(run_id)
        again = await worker.start_of(run_id, 1)
        await worker.complete(again)
        await until_state(pair.at_other, run_id, v1.RunStatus.COMPLETED)
        await pair.settle()


@pytest.mark.parametrize("chunks_at_owner", [True, False])
async def test_watcher_and_chunks_on_different_engines(pair: Pair, chunks_at_owner: bool) -> None:
    worker = await RawWorker.register(pair.at_owner, "one", FLOW)
    speaking, watching = (pair.at_owner, pair.at_other) if chunks_at_owner else (pair.at_other, pair.at_owner)
    async with worker:
        run_id = await pair.at_owner.trigger(FLOW)
        start = await worker.start_of(run_id, 0)
        first = asyncio.Event()
        watcher = asyncio.create_task(fleet.watched(watching, run_id, first))

        async def heard() -> bool:
            await fleet.stream(speaking, run_id, "hello")
            return first.is_set()

        # Chunks are not kept: who watches later does not see them.
        await until(heard, "the watcher hears of the run", 15.0, period=0.05)
        for index, text in enumerate(("a", "b", "c")):
            await fleet.stream(speaking, run_id, text, index)
        # Chunks are relayed by rows: those of another engine are with the owner within a sweep.
        await pair.cluster.until_value("SELECT count(*) FROM message", 0)
        await worker.complete(start, '{"last": 1}')
        told = await watcher
        assert [text for kind, text in told if text in ("a", "b", "c")] == ["a", "b", "c"]
        assert '{"last": 1}' in [text for _, text in told]
        await pair.settle()


async def test_labels_pause_and_heartbeats_reach_the_owner(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_other, "one", FLOW)
    async with worker:
        await pair.on_other(worker)
        # Its heartbeats come to the other engine, which tells the owner only of a silence.
        run_id = await pair.at_owner.trigger(FLOW)
        await worker.complete(await worker.start_of(run_id, 0))
        await worker.fall_silent()
        await pair.cluster.until_value(
            "SELECT coalesce(max(posted_at), now()) <= now() FROM message", True, 20.0
        )
    await pair.settle()


@pytest.mark.alone
async def test_sigterm_of_the_owner_hands_over_and_workers_elsewhere_go_on(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_other, "one", FLOW)
    async with worker:
        before = await pair.at_owner.trigger(FLOW)
        start = await worker.start_of(before, 0)
        sessions = worker.sessions
        assert await pair.owner.process.stop() == 0
        await worker.complete(start)
        async with within(TAKE_OVER):
            after = await pair.at_other.trigger(FLOW)
            await worker.complete(await worker.start_of(after, 0))
        assert worker.sessions == sessions, "its stream was not disturbed"
        await pair.settle()


@pytest.mark.alone
async def test_owner_killed_the_other_takes_over_within_three_seconds(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_other, "one", FLOW)
    async with worker:
        before = await pair.at_owner.trigger(FLOW)
        start = await worker.start_of(before, 0)
        await worker.report(start, 1)
        await pair.cluster.kill(pair.owner.process)
        async with within(TAKE_OVER):
            after = await pair.at_other.trigger(FLOW)
            await worker.start_of(after, 0)
        await worker.complete(start)
        await worker.complete(await worker.start_of(after, 0))
        await pair.settle()


async def test_leases_by_time_owner_killed_the_other_takes_over(new_cluster: NewCluster) -> None:
    """As behind a transaction pooler: nothing but its silence tells that the owner is gone."""
    cluster = await new_cluster(
        SERVER_LEASE_BY="time",
        SERVER_LEASE_LIFE="2s",
        SERVER_TENANT_PARTITIONS="2",
        SERVER_IN_DOUBT_WAIT="300ms",
    )
    members = [await fleet.start(cluster) for _ in range(2)]

    async def even() -> bool:
        return sorted((await fleet.shares(cluster)).values()) == [1, 1]

    await until(even, "each engine has a share", 20.0, period=0.05)
    mine = "SELECT engine_id FROM lease WHERE partition = tenant_partition($1::uuid, 2)"
    owner = await cluster.value(mine, cluster.tenant_id)
    oldest = await cluster.value("SELECT id FROM engine ORDER BY started_at, id LIMIT 1")
    killed, other = members if owner == oldest else reversed(members)
    history = History()
    async with Client(other.address, cluster.token, history) as client:
        await client.put_workflow(FLOW, retries=2)
        worker = await RawWorker.register(client, "one", FLOW)
        async with worker:
            before = await client.trigger(FLOW)
            start = await worker.start_of(before, 0)
            await worker.report(start, 1)
            await cluster.kill(killed.process)
            after = await client.trigger(FLOW)
            await worker.start_of(after, 0)
            assert await cluster.value(mine, cluster.tenant_id) != owner
            # A machine that stands still for longer than a lease lives gives some of them anew.
            worker.auto = worker.complete
            for one in list(worker.got):
                if one.start:
                    await worker.complete(one)
            await cluster.until_settled(40)
            await verify(cluster.dsn, history)
    assert list((await fleet.shares(cluster)).values()) == [2]


async def test_engine_of_the_stream_killed_its_task_is_given_anew_after_the_doubt(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_other, "one", FLOW)
    async with worker:
        run_id = await pair.at_owner.trigger(FLOW)
        await worker.start_of(run_id, 0)
        await pair.cluster.kill(pair.other.process)
        again = await fleet.launch(pair.cluster, pair.other)
        await again.process.wait_line(READY, 30.0)
        start = await worker.start_of(run_id, 1, 30.0)
        await worker.complete(start)
        await pair.settle()


async def test_tasks_that_one_engine_took_go_in_their_order(pair: Pair) -> None:
    worker = await RawWorker.register(pair.at_owner, "one", FLOW, slots=2)
    worker.auto = worker.complete

    async def triggers(client: Client) -> None:
        for number in range(10):
            await client.trigger(FLOW, number=number)

    async with worker:
        await asyncio.gather(
            *(triggers(client) for client in (pair.at_owner, pair.at_other) for _ in range(4))
        )
        await pair.cluster.until_settled(40)
        history = pair.at_owner.history
        assert set(history.taken_at.values()) == {pair.owner.address, pair.other.address}
        verdict = await verify(pair.cluster.dsn, history, fifo=Fifo.ENGINE)
        assert verdict.by_state == {"COMPLETED": 80}


async def test_full_queue_is_refused_on_the_other_engine_until_it_has_room(new_cluster: NewCluster) -> None:
    cluster = await new_cluster(SERVER_QUEUE_MAX_DEPTH="5")
    owner, other = await fleet.start(cluster), await fleet.start(cluster)
    history = History()
    async with (
        Client(owner.address, cluster.token, history) as at_owner,
        Client(other.address, cluster.token, history) as at_other,
    ):
        await at_owner.put_workflow(FLOW)
        refused: list[Refused] = []

        async def full() -> bool:
            try:
                await at_other.trigger(FLOW)
            except Refused as error:
                refused.append(error)
            return bool(refused)

        await until(full, "the other engine hears that the queue is full", 20.0, period=0.05)
        assert refused[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"{FLOW}:step" in refused[0].text
        assert len(history.triggered) >= 5
        worker = await RawWorker.register(at_owner, "one", FLOW)
        worker.auto = worker.complete
        async with worker:
            # Refused triggers are tried again, as SDKs do.
            await at_other.trigger_patiently(FLOW)
            await cluster.until_settled(20)
            await verify(cluster.dsn, history)


@pytest.mark.alone
async def test_partitions_are_shared_and_a_killed_engines_are_taken(new_cluster: NewCluster) -> None:
    cluster = await new_cluster(SERVER_TENANT_PARTITIONS="8")
    members = [await fleet.start(cluster) for _ in range(3)]

    async def even() -> bool:
        return sorted((await fleet.shares(cluster)).values()) == [2, 3, 3]

    await until(even, "three engines share eight partitions", 20.0, period=0.05)
    await cluster.kill(members[0].process)

    async def taken() -> bool:
        owned = await fleet.shares(cluster)
        return len(owned) == 2 and sum(owned.values()) == 8

    async with within(TAKE_OVER):
        await until(taken, "its partitions are taken", 20.0, period=0.02)

    async def even_again() -> bool:
        return sorted((await fleet.shares(cluster)).values()) == [4, 4]

    await until(even_again, "two engines share them", 20.0, period=0.05)


async def test_number_of_partitions_changes_only_when_no_other_engine_runs(new_cluster: NewCluster) -> None:
    cluster = await new_cluster()
    first = await fleet.start(cluster, SERVER_TENANT_PARTITIONS="2")
    second = await fleet.start(cluster, SERVER_TENANT_PARTITIONS="5")
    await second.process.wait_line("spread over 2 partitions, not 5")
    assert await cluster.value("SELECT partitions FROM fleet") == 2
    history = History()
    async with Client(second.address, cluster.token, history) as client:
        await client.put_workflow(FLOW)
        run_id = await client.trigger(FLOW)
    for member in (first, second):
        assert await member.process.stop() == 0
    third = await fleet.start(cluster, SERVER_TENANT_PARTITIONS="5")
    assert await cluster.value("SELECT partitions FROM fleet") == 5
    async with (
        Client(third.address, cluster.token, history) as client,
        await RawWorker.register(client, "one", FLOW) as worker,
    ):
        await worker.complete(await worker.start_of(run_id, 0))
        await cluster.until_settled(20)
        await verify(cluster.dsn, history)


async def test_roles_apart_run_tasks_and_nothing_is_born_assigned(new_cluster: NewCluster) -> None:
    cluster = await new_cluster()
    scheduler = await fleet.start(cluster, SERVER_SERVICES="scheduler")
    controllers = await fleet.start(cluster, SERVER_SERVICES="controllers")
    serving = await fleet.start(cluster, SERVER_SERVICES="grpc-api")
    for member, has_port in ((scheduler, False), (controllers, False), (serving, True)):
        line = await member.process.wait_line(READY)
        assert bool(re.search(r"\bgrpc=", line)) is has_port, line
    history = History()
    async with Client(serving.address, cluster.token, history) as client:
        await client.put_workflow(FLOW, retries=1)
        worker = await RawWorker.register(client, "one", FLOW)
        worker.auto = worker.complete
        async with worker, Results(serving.address, cluster.token) as results:
            runs = [await client.trigger(FLOW, number=number) for number in range(20)]
            for run_id in runs:
                results.add(run_id)
            for run_id in runs:
                await results.of(run_id)
        await cluster.until_settled(20)
        await verify(cluster.dsn, history)
    born = "SELECT DISTINCT ON (task_id) state FROM kept_state ORDER BY task_id, n"
    assert {row[0] for row in await cluster.fetch(born)} == {1}, "each was born waiting"
