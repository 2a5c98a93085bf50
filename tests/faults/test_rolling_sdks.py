"""A rolling change of engines under the workers of the official SDKs of TypeScript and Go.

`test_drain` has the Python SDK's.
"""

import asyncio
from pathlib import Path

import pytest

from broadaxe.testkit.fifo import Fifo
from broadaxe.testkit.invariants import verify
from tests.faults.cluster import Cluster
from tests.faults.rolling import change, given_up, next_engine
from tests.faults.storm import Program, release, storm
from tests.faults.wire import Client
from tests.judges import NotHere, find
from tests.wire.npm import TYPESCRIPT_SDK, node_modules

TASKS = 150
TYPESCRIPT = Path(__file__).resolve().parents[1] / "wire" / "typescript" / "storm.js"


def worker_in(language: str) -> Program:
    """The storm's worker; skips the test where it cannot be had."""
    if language == "typescript":
        return Program(("node", TYPESCRIPT), {"NODE_PATH": str(node_modules(TYPESCRIPT_SDK))})
    try:
        return Program((find("go-sdk-checks", build=True), "storm"))
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("language", ["typescript", "go"])
async def test_rolling_change_under_load_costs_no_task_an_attempt(
    cluster: Cluster, tmp_path: Path, language: str
) -> None:
    program = worker_in(language)
    engine = await cluster.start()
    async with storm(cluster, tmp_path, seed=7, program=program) as load:
        await load.start_workers(2)
        async with Client(cluster.address, cluster.token, load.history) as client:
            pace = asyncio.Semaphore(0)
            triggering = asyncio.create_task(load.trigger(client, TASKS, pace))
            new = await next_engine(cluster)
            release(pace, TASKS // 2)
            await load.moved(TASKS // 2, 60)
            await change(engine, new)
            release(pace, TASKS)
            async with asyncio.timeout(90):
                await triggering
        await cluster.until_settled(60)
        load.read_notes()
        await verify(cluster.dsn, load.history, fifo=Fifo.NOBODY)
        assert len(load.history.triggered) == TASKS
        again = await given_up(cluster)
        assert not again, "\n".join(map(str, again))
        assert load.refusals == 0
        # Nothing was refused to a worker either: the TypeScript SDK would not listen for five seconds.
        said = "\n".join(worker.output() for worker in load.workers.values())
        assert "unavailable" not in said.lower(), said
