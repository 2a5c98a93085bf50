"""Three engines under load with real SDK workers, killed at random: nothing is lost or done twice."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from broadaxe.clock import SystemClock
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.collector import Collector
from broadaxe.testkit.conditions import until
from broadaxe.testkit.fifo import Fifo
from broadaxe.testkit.invariants import verify
from tests.faults import fleet
from tests.faults.cluster import READY, Cluster, running
from tests.faults.conftest import soak
from tests.faults.figures import check_spans_add_up, samples
from tests.faults.fleet import Member
from tests.faults.storm import Storm, storm
from tests.faults.test_kill_storm import STATUS, check_traces
from tests.faults.wire import Client

SEED = int(os.environ.get("BROADAXE_SEED", "1"))
ENGINES = 3


async def rage(cluster: Cluster, load: Storm, tasks: int, kills: int) -> list[Member]:
    """Trigger at all engines while one after the other is killed; those that live at the end."""
    dice = random.Random(SEED)
    members = [await fleet.start(cluster) for _ in range(ENGINES)]
    for count, member in enumerate(members, 1):
        load.address = member.address
        await load.start_workers(1, running=count)
    share = tasks // (kills + 1)
    paces = [asyncio.Semaphore(0) for _ in members]
    async with (
        Client(members[0].address, cluster.token, load.history) as first,
        Client(members[1].address, cluster.token, load.history) as second,
        Client(members[2].address, cluster.token, load.history) as third,
    ):
        parts = [tasks // ENGINES + (1 if number < tasks % ENGINES else 0) for number in range(ENGINES)]
        triggering = [
            asyncio.create_task(load.trigger(client, part, pace))
            for client, part, pace in zip((first, second, third), parts, paces, strict=True)
        ]
        for _ in range(kills):
            for pace in paces:
                for _ in range(share // ENGINES):
                    pace.release()
            await load.moved(dice.randint(1, share))
            at = dice.randrange(ENGINES)
            await cluster.kill(members[at].process)
            await load.moved(dice.randint(1, share // 4 + 1))
            members[at] = await fleet.launch(cluster, members[at])
            await members[at].process.wait_line(READY, 30.0)
        for pace in paces:
            for _ in range(tasks):
                pace.release()
        async with asyncio.timeout(150):
            await asyncio.gather(*triggering)
    return members


async def check_everything(cluster: Cluster, load: Storm, members: list[Member], tasks: int) -> str:
    """All invariants; a line of figures."""
    await cluster.until_settled(150)
    load.read_notes()
    assert len(load.history.triggered) == tasks
    assert len(set(load.history.taken_at.values())) == ENGINES
    # Engines follow each other at one address, and what is on its way to an owner that dies comes later.
    verdict = await verify(cluster.dsn, load.history, fifo=Fifo.NOBODY)
    api = await cluster.launch("api", SERVER_PROMETHEUS_ENABLED="false")
    await api.wait_line(READY, 30.0)
    rows = {row[0]: STATUS[row[1]] for row in await cluster.fetch("SELECT run_id, state FROM task")}
    assert await cluster.listed() == rows, "I9: the REST list differs from the rows"
    assert await api.stop() == 0

    async def free() -> bool:
        used = 0.0
        for member in members:
            found = await samples(member.metrics_port)
            used += sum(v for k, v in found.items() if k.startswith("hatchet_tenant_used_worker_slots{"))
        return used == 0.0

    await until(free, "I4: no slot is in use when nothing runs", 10.0, period=0.2)
    await cluster.until_value("SELECT count(*) FROM message", 0, 30.0)
    return (
        f"{tasks} acknowledged of {verdict.tasks} created, {verdict.by_state}, {verdict.attempts} attempts, "
        f"{len(load.history.cancelled)} cancels, {load.refusals} refused triggers, epoch {verdict.epochs}"
    )


async def run_storm(folder: Path, tasks: int, kills: int) -> str:
    """The whole campaign on a durable PostgreSQL of its own."""
    postgres = EmbeddedPostgres(folder / "postgres")
    dsn = await postgres.start()
    clock = SystemClock()
    began = clock.monotonic()
    try:
        async with Collector(keep=2_000_000) as collector:
            env = {
                "SERVER_OTEL_COLLECTOR_URL": collector.target,
                "SERVER_OTEL_INSECURE": "true",
                "SERVER_TENANT_PARTITIONS": "4",
            }
            async with (
                running(dsn, folder / "cluster", **env) as cluster,
                storm(cluster, folder, SEED) as load,
            ):
                members = await rage(cluster, load, tasks, kills)
                figures = await check_everything(cluster, load, members, tasks)
                for member in members:
                    await check_spans_add_up(member.metrics_port)
                # What the dead had not sent is told again once they are taken away.
                await cluster.until_value("SELECT count(*) FROM engine", ENGINES, 40.0)
                for member in members:
                    assert await member.process.stop() == 0
                spans = check_traces(collector)
    finally:
        await postgres.stop()
    return f"{figures}; {spans} spans, no orphan; {kills} kills in {clock.monotonic() - began:.0f} s"


@pytest.mark.alone
@pytest.mark.slow
async def test_three_engines_killed_under_load_every_acknowledged_run_ends_once(tmp_path: Path) -> None:
    print(await run_storm(tmp_path, tasks=240, kills=4))


@soak
async def test_three_engines_killed_20_times_under_2000_tasks(tmp_path: Path) -> None:
    print(await run_storm(tmp_path, tasks=2_000, kills=20))
