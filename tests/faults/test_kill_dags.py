"""kill -9 of the engine at random moments over runs of several steps: each once, in order, nothing lost."""

import asyncio
import os
import random
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.grpc_api.wire.v1.shared import condition_pb2 as cp
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History, Verdict, verify
from broadaxe.testkit.process import ChildProcess
from tests.faults.cluster import Cluster, running
from tests.faults.conftest import soak
from tests.faults.wire import COMPLETED, FAILED, Client, Got, RawWorker, patiently

SEED = int(os.environ.get("BROADAXE_SEED", "1"))
FAILS_ONE_IN = 9
CANCELLED_ONE_IN = 12
STATUS = {3: "RUNNING", 10: "COMPLETED", 11: "FAILED", 12: "CANCELLED"}


def task(flow: str, name: str, *parents: str, retries: int = 0, **conditions: object) -> v1.CreateTaskOpts:
    """A step; its action is one that `RawWorker.register` serves."""
    return v1.CreateTaskOpts(
        readable_id=name,
        action=f"{flow}-{name}:step",
        timeout="20s",
        inputs="{}",
        parents=parents,
        retries=retries,
        conditions=cp.TaskConditions(**conditions) if conditions else None,
    )


def base(action: int, key: str, expression: str = "") -> cp.BaseMatchCondition:
    return cp.BaseMatchCondition(
        readable_data_key=key, action=cp.Action.ValueType(action), or_group_id=key, expression=expression
    )


def flows() -> dict[str, list[v1.CreateTaskOpts]]:
    """A chain, a fan, branches with conditions, sleeps."""
    leaves = [f"leaf{at}" for at in range(8)]
    skip = cp.ParentOverrideMatchCondition(base=base(3, "s", "output.n > 5"), parent_readable_id="start")
    other = cp.ParentOverrideMatchCondition(base=base(3, "s", "output.n <= 5"), parent_readable_id="start")
    nap = cp.SleepMatchCondition(base=base(1, "nap"), sleep_for="300ms")
    return {
        "chain": [task("chain", "a"), *(task("chain", b, a, retries=1) for a, b in ("ab", "bc", "cd"))],
        "fan": [
            task("fan", "start"),
            *(task("fan", leaf, "start") for leaf in leaves),
            task("fan", "end", *leaves),
        ],
        "branch": [
            task("branch", "start"),
            task("branch", "left", "start", parent_override_conditions=[skip]),
            task("branch", "right", "start", parent_override_conditions=[other]),
            task("branch", "end", "left", "right"),
        ],
        "nap": [
            task("nap", "start"),
            task("nap", "sleeps", "start", sleep_conditions=[nap]),
            task("nap", "end", "sleeps"),
        ],
    }


class Load:
    """Runs of all flows, worked on by a worker that fails some steps."""

    def __init__(self, cluster: Cluster, client: Client) -> None:
        self.cluster = cluster
        self.client = client
        self.dice = random.Random(SEED)
        self.done = 0
        self.asked = 0

    def flows(self) -> dict[str, list[v1.CreateTaskOpts]]:
        """The workflows and their steps; those of several steps get an on-failure task, too."""
        return flows()

    def actions(self) -> list[str]:
        """What the worker serves."""
        steps = (one for name, tasks in self.flows().items() for one in (*tasks, task(name, "failing")))
        return [one.action.removesuffix(":step") for one in steps]

    async def register(self) -> RawWorker:
        for name, tasks in self.flows().items():
            failing = task(name, "failing") if len(tasks) > 1 else None
            request = v1.CreateWorkflowVersionRequest(name=name, tasks=tasks, on_failure_task=failing)
            await self.client.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)
        worker = await RawWorker.register(self.client, "steps", *self.actions(), slots=64)
        worker.auto = self._work(worker)
        return worker

    def _work(self, worker: RawWorker):  # type: ignore[no-untyped-def]
        async def work(got: Got) -> None:
            failing = got.raw.task_name == "failing"
            if not failing and self.dice.randrange(FAILS_ONE_IN) == 0:
                await patiently(lambda: worker.report(got, FAILED, f"{got.raw.task_name} broke"))
            else:
                number = self.dice.randrange(11)
                await patiently(lambda: worker.report(got, COMPLETED, f'{{"n":{number}}}'))
            self.done += 1

        return work

    async def trigger(self, count: int) -> list[UUID]:
        names = list(self.flows())
        runs = []
        for number in range(count):
            name = names[(self.asked + number) % len(names)]
            run = await self.client.trigger_patiently(name, number=number)
            runs.append(run)
            if self.dice.randrange(CANCELLED_ONE_IN) == 0:
                self.client.history.cancelled_runs.add(run)
                await patiently(lambda: self.client.cancel(runs[-1]))
        self.asked += count
        return runs

    async def moved(self, by: int) -> None:
        wanted = self.done + by
        await until(lambda: self.done >= wanted, f"{by} more steps", 30.0, period=0.005)

    async def rage(self, engine: ChildProcess, runs: int, kills: int) -> ChildProcess:
        """Trigger while one engine after the other is killed; the one that lives at the end."""
        share = runs // (kills + 1)
        for _ in range(kills):
            triggering = asyncio.create_task(self.trigger(share))
            await self.moved(self.dice.randint(1, share))
            await self.cluster.kill(engine)
            engine = await self.cluster.start("server")
            await triggering
        await self.trigger(runs - kills * share)
        return engine


async def judge(cluster: Cluster, history: History, runs: int, listed: str, within: float) -> Verdict:
    """Judge what is left once all has ended; `listed`: a query for id and state of what readers list."""
    await cluster.until_value("SELECT count(*) FROM run WHERE finished_at IS NULL", 0, 120.0)
    await cluster.until_settled(within)
    # A run that a cancel named ends cancelled or failed; its tasks are judged by their states.
    cancelled, history.cancelled = history.cancelled, set()
    verdict = await verify(cluster.dsn, history)
    history.cancelled = cancelled
    rows = {row[0]: STATUS[row[1]] for row in await cluster.fetch(listed)}
    assert await cluster.listed() == rows, "I9: the REST list differs from the rows"
    for run in cancelled:
        assert rows[run] in ("CANCELLED", "FAILED"), "I8"
    doubles = await cluster.fetch(
        "SELECT run_id, step_id FROM task GROUP BY run_id, step_id HAVING count(*) > 1"
    )
    assert doubles == [], "a step has two tasks"
    assert len(history.triggered) == runs
    return verdict


async def campaign(folder: Path, runs: int, kills: int) -> Verdict:
    """Trigger, kill, restart, and judge what is left."""
    postgres = EmbeddedPostgres(folder / "postgres")
    dsn = await postgres.start()
    try:
        async with running(dsn, folder / "cluster") as cluster:
            engine = await cluster.start("server")
            history = History()
            async with Client(cluster.address, cluster.token, history) as client:
                load = Load(cluster, client)
                worker = await load.register()
                async with worker:
                    engine = await load.rage(engine, runs, kills)
                    verdict = await judge(cluster, history, runs, "SELECT id, state FROM run", 30)
            assert await engine.stop() == 0
            return verdict
    finally:
        await postgres.stop()


@pytest.mark.slow
async def test_engine_killed_over_dags_every_step_ends_once_and_in_order(tmp_path: Path) -> None:
    print(await campaign(tmp_path, runs=80, kills=5))


@soak
async def test_engine_killed_20_times_over_dags(tmp_path: Path) -> None:
    print(await campaign(tmp_path, runs=600, kills=20))
