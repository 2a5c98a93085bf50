"""kill -9 and cuts at chosen points between a decision and its commit, a commit and its message.

The engine reaches PostgreSQL through a proxy that holds or cuts the wire at the COMMIT a test is about, so
every point is hit for certain and not by luck.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from broadaxe.clock import SystemClock
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.proxy import COMMIT, Fault, FaultProxy, Rule, Way
from broadaxe.testkit.stalls import Stalls
from tests.faults.cluster import Cluster, through
from tests.faults.conftest import NewCluster
from tests.faults.wire import COMPLETED, STARTED, Client, Code, RawWorker, Refused

FLOW = "points"
DOUBT = 2.0
"""Seconds that a worker that came back may take to report a task that may have reached it."""
clock = SystemClock()


@dataclass
class Stage:
    """An engine behind a proxy, and a client."""

    cluster: Cluster
    proxy: FaultProxy
    engine: ChildProcess
    client: Client

    @property
    def history(self) -> History:
        return self.client.history

    def hold_commit(self, answer: bool = False) -> Rule:
        """The next COMMIT never arrives; or its answer does not (`answer`)."""
        way = Way.TO_CLIENT if answer else Way.TO_SERVER
        return self.proxy.on_pattern(COMMIT, Fault.STALL, way)

    async def kill_and_restart(self) -> None:
        """kill -9, the wire is whole again, the next engine takes over."""
        await self.cluster.kill(self.engine)
        self.proxy.cut()
        # What is held must be gone before the wire is open again.
        await self.proxy.wait_connected(lambda count: count == 0)
        self.proxy.resume()
        self.engine = await self.cluster.start()

    async def settle(self) -> None:
        """All ended; all invariants."""
        await self.cluster.until_settled(30)
        await verify(self.cluster.dsn, self.history)


@pytest.fixture
async def stage(new_cluster: NewCluster, database_socket: Path) -> AsyncIterator[Stage]:
    async with FaultProxy(database_socket) as proxy:
        cluster = await new_cluster()
        cluster.env["DATABASE_URL"] = through(cluster.dsn, proxy.port)
        # A start is committed at once, so that each report of a test has a COMMIT of its own.
        cluster.env["SERVER_STARTED_COMMIT_DELAY"] = "0"
        engine = await cluster.start()
        async with Client(cluster.address, cluster.token, History()) as client:
            await client.put_workflow(FLOW, retries=3)
            yield Stage(cluster, proxy, engine, client)
        proxy.resume()
        await cluster.end()


async def test_trigger_killed_before_commit_is_not_acknowledged_and_leaves_nothing(stage: Stage) -> None:
    rule = stage.hold_commit()
    trigger = asyncio.create_task(stage.client.trigger(FLOW))
    await rule.wait()
    await stage.kill_and_restart()
    with pytest.raises(Refused) as refused:
        await trigger
    assert refused.value.code is Code.UNAVAILABLE
    assert await stage.cluster.value("SELECT count(*) FROM task") == 0


async def test_assignment_killed_between_commit_and_send_is_settled_after_the_doubt(stage: Stage) -> None:
    run_id = await stage.client.trigger(FLOW)
    worker = await RawWorker.register(stage.client, "one", FLOW)
    # The stream's opening is an autocommitted statement; the next COMMIT is the assignment's.
    rule = stage.hold_commit(answer=True)
    worker.begin()
    async with aclosing(worker):
        await rule.wait()
        rows = await stage.cluster.fetch("SELECT state, attempt FROM task WHERE id = $1", run_id)
        assert [tuple(row) for row in rows] == [(3, 0)]
        await stage.kill_and_restart()
        start = await worker.start_of(run_id, 1)
        assert DOUBT <= start.at - worker.asked_at[-1] < 20.0, "after the doubt, before the worker's death"
        cancel = await worker.cancel_of(run_id, 0)
        assert cancel.at <= start.at
        assert worker.find(run_id, 0) is None
        await worker.complete(start)
        await stage.settle()


async def test_worker_that_reports_within_the_doubt_keeps_its_attempt(stage: Stage) -> None:
    # However slowly the report comes on this machine.
    stage.cluster.env["SERVER_IN_DOUBT_WAIT"] = "20s"
    worker = await RawWorker.register(stage.client, "one", FLOW)
    async with worker:
        run_id = await stage.client.trigger(FLOW)
        start = await worker.start_of(run_id, 0)
        await stage.kill_and_restart()
        # Nobody but the worker knows that it got this attempt.
        await worker.complete(start)
        await stage.settle()
        assert [got.attempt for got in worker.got if got.task_id == run_id] == [0]
        assert await stage.cluster.value("SELECT attempt FROM task WHERE id = $1", run_id) == 0


@pytest.mark.parametrize("committed", [False, True], ids=["before COMMIT", "after COMMIT"])
async def test_result_killed_around_its_commit_is_accepted_once(stage: Stage, committed: bool) -> None:
    worker = await RawWorker.register(stage.client, "one", FLOW)
    async with worker:
        run_id = await stage.client.trigger(FLOW)
        start = await worker.start_of(run_id, 0)
        await worker.report(start, STARTED)
        rule = stage.hold_commit(answer=committed)
        told = asyncio.create_task(worker.report(start, COMPLETED, '{"first": true}'))
        await rule.wait()
        await stage.kill_and_restart()
        with pytest.raises(Refused):
            await told
        # The SDK repeats what was not answered; a twin of it must not change anything.
        await worker.complete(start, '{"second": true}')
        await worker.complete(start, '{"third": true}')
        await stage.settle()
    rows = await stage.cluster.fetch("SELECT state, attempt, output FROM task WHERE id = $1", run_id)
    kept = b'{"first": true}' if committed else b'{"second": true}'
    assert [tuple(row) for row in rows] == [(10, 0, kept)]


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.LOSE_ANSWER])
async def test_commit_cut_on_the_wire_is_acknowledged_exactly_once(stage: Stage, fault: Fault) -> None:
    worker = await RawWorker.register(stage.client, "one", FLOW, slots=100)
    worker.auto = worker.complete
    async with worker:
        rules = [stage.proxy.on_pattern(COMMIT, fault, skip=skip) for skip in (0, 3, 7)]
        runs = await asyncio.gather(*(stage.client.trigger_patiently(FLOW) for _ in range(20)))
        for rule in rules[:1]:
            await rule.wait()
        await stage.settle()
    assert stage.engine.running
    assert len(set(runs)) == 20
    # No cut made a client repeat a trigger: every run that exists was acknowledged.
    assert await stage.cluster.value("SELECT count(*) FROM task") == 20
    assert {(task, attempt) for task, attempt, _ in stage.history.starts} == {(run, 0) for run in runs}


@pytest.mark.parametrize("answer", [False, True], ids=["before COMMIT", "after COMMIT"])
async def test_take_over_killed_midway_is_taken_over_again(stage: Stage, answer: bool) -> None:
    runs = await stage.client.trigger_many(FLOW, 30)
    before = await stage.cluster.value("SELECT epoch FROM lease")
    await stage.cluster.kill(stage.engine)
    rule = stage.hold_commit(answer=answer)
    stage.engine = await stage.cluster.launch()
    await rule.wait(20.0)
    await stage.kill_and_restart()
    worker = await RawWorker.register(stage.client, "one", FLOW, slots=100)
    worker.auto = worker.complete
    async with worker:
        await stage.settle()
    epoch = await stage.cluster.value("SELECT epoch FROM lease")
    assert epoch == before + (2 if answer else 1)
    assert {task for task, _, _ in stage.history.starts} == set(runs)


async def test_cancel_killed_after_its_acknowledgement_holds(stage: Stage) -> None:
    worker = await RawWorker.register(stage.client, "one", FLOW)
    async with worker:
        run_id = await stage.client.trigger(FLOW)
        start = await worker.start_of(run_id, 0)
        assert await stage.client.cancel(run_id) == [run_id]
        await stage.kill_and_restart()
        await worker.complete(start)
        await stage.settle()
    assert await stage.cluster.value("SELECT state FROM task WHERE id = $1", run_id) == 12


@pytest.mark.alone
async def test_restart_with_a_full_queue_sends_the_first_task_within_three_seconds(stage: Stage) -> None:
    worker = await RawWorker.register(stage.client, "one", FLOW, slots=5)
    async with worker:
        runs = await stage.client.trigger_many(FLOW, 500)
        await worker.wait(lambda: len(worker.got) >= 5, "five tasks")
        await stage.cluster.kill(stage.engine)
        for got in worker.got:
            assert got.start
        began, first = clock.monotonic(), len(worker.got)
        worker.auto = worker.complete
        waiting = [asyncio.create_task(worker.complete(got)) for got in worker.got]
        stage.engine = await stage.cluster.start()
        ready = clock.monotonic()
        async with Stalls() as stalls:
            await worker.wait(lambda: len(worker.got) > first, "a task after the restart")
        sent = worker.got[first].at
        print(
            f"ready {ready - began:.2f} s after the kill, first waiting task {sent - ready:.2f} s after that"
        )
        assert sent - ready - stalls.seconds <= 3.0
        await asyncio.gather(*waiting)
        await stage.settle()
    assert {task for task, _, _ in stage.history.starts} == set(runs)
