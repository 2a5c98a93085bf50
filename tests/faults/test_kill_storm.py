"""kill -9 of the engine at random moments under load with real SDK workers: nothing is lost or done twice."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from broadaxe.clock import SystemClock
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.collector import Collector
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import verify
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.trace_assert import Forest, Rules
from tests.faults.cluster import OWNS, Cluster, running
from tests.faults.conftest import soak
from tests.faults.figures import check_spans_add_up
from tests.faults.storm import Storm, storm
from tests.faults.wire import Client

SEED = int(os.environ.get("BROADAXE_SEED", "1"))
EARLY_ONE_IN = 6
STATUS = {10: "COMPLETED", 11: "FAILED", 12: "CANCELLED"}


async def kill_and_restart(cluster: Cluster, engine: ChildProcess, dice: random.Random) -> ChildProcess:
    """Kill the process and start the next; now and then that one dies during its take-over."""
    await cluster.kill(engine)
    while dice.randrange(EARLY_ONE_IN) == 0:
        engine = await cluster.launch("server")
        await engine.wait_line(OWNS, 30.0)
        await cluster.kill(engine)
    return await cluster.start("server")


async def rage(cluster: Cluster, storm: Storm, tasks: int, kills: int) -> ChildProcess:
    """Trigger while the engine is killed again and again; the last process, which goes on."""
    dice = random.Random(SEED)
    engine = await cluster.start("server")
    await storm.start_workers(2)
    async with Client(cluster.address, cluster.token, storm.history) as client:
        # Triggers are given out in portions, so that there is work at every kill.
        pace = asyncio.Semaphore(0)
        triggering = asyncio.create_task(storm.trigger(client, tasks, pace))
        share = tasks // (kills + 1)
        for _ in range(kills):
            for _ in range(share):
                pace.release()
            await storm.moved(dice.randint(1, 2 * share))
            engine = await kill_and_restart(cluster, engine, dice)
        for _ in range(tasks - kills * share):
            pace.release()
        async with asyncio.timeout(120):
            await triggering
    return engine


def check_traces(collector: Collector) -> int:
    """No span of ours hangs under one that never came."""
    forest = Forest(collector.spans)
    ours = Rules(services=frozenset({"server"}), one_root=False, repeated=True)
    problems = [text for text in forest.problems(ours) if "orphan" in text]
    assert not problems, "\n".join(problems[:20])
    return len(forest.spans)


async def check_everything(cluster: Cluster, storm: Storm, tasks: int) -> str:
    """All invariants; a line of figures."""
    await cluster.until_settled(150)
    storm.read_notes()
    assert len(storm.history.triggered) == tasks
    verdict = await verify(cluster.dsn, storm.history)
    rows = {row[0]: STATUS[row[1]] for row in await cluster.fetch("SELECT run_id, state FROM task")}
    assert await cluster.listed() == rows, "I9: the REST list differs from the rows"

    async def free() -> bool:
        metrics = await cluster.metrics()
        used = [
            value for name, value in metrics.items() if name.startswith("hatchet_tenant_used_worker_slots{")
        ]
        return used == [0.0]

    # The engine hears of a commit a moment after its rows can be read.
    await until(free, "I4: no slot is in use when nothing runs", 10.0, period=0.1)
    return (
        f"{tasks} acknowledged of {verdict.tasks} created, {verdict.by_state}, {verdict.attempts} attempts, "
        f"{len(storm.history.cancelled)} cancels, {storm.refusals} refused triggers, epoch {verdict.epochs}"
    )


async def run_storm(folder: Path, tasks: int, kills: int) -> str:
    """The whole campaign on a durable PostgreSQL of its own."""
    postgres = EmbeddedPostgres(folder / "postgres")
    dsn = await postgres.start()
    clock = SystemClock()
    began = clock.monotonic()
    try:
        async with Collector(keep=2_000_000) as collector:
            env = {"SERVER_OTEL_COLLECTOR_URL": collector.target, "SERVER_OTEL_INSECURE": "true"}
            async with (
                running(dsn, folder / "cluster", **env) as cluster,
                storm(cluster, folder, SEED) as load,
            ):
                engine = await rage(cluster, load, tasks, kills)
                figures = await check_everything(cluster, load, tasks)
                await check_spans_add_up(cluster.metrics_port)
                assert await engine.stop() == 0
                spans = check_traces(collector)
    finally:
        await postgres.stop()
    return f"{figures}; {spans} spans, no orphan; {kills} kills in {clock.monotonic() - began:.0f} s"


@pytest.mark.alone
@pytest.mark.slow
async def test_engine_killed_under_load_every_acknowledged_run_ends_once(tmp_path: Path) -> None:
    print(await run_storm(tmp_path, tasks=300, kills=5))


@soak
async def test_engine_killed_20_times_under_2000_tasks_every_acknowledged_run_ends_once(
    tmp_path: Path,
) -> None:
    print(await run_storm(tmp_path, tasks=2_000, kills=20))
