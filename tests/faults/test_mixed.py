"""All faults at once, in an order that a seed decides: whatever comes, the invariants hold."""

import asyncio
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

from broadaxe.clock import SystemClock
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.invariants import verify
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.proxy import COMMIT, Fault, FaultProxy, Way
from tests.faults.cluster import Cluster, running, socket_of, through
from tests.faults.conftest import soak
from tests.faults.storm import Storm, storm
from tests.faults.wire import Client

SEED = int(os.environ.get("BROADAXE_SEED", "1"))
TASKS = int(os.environ.get("BROADAXE_TASKS", "1500"))
FAULTS = int(os.environ.get("BROADAXE_FAULTS", "40"))


class Chaos:
    """Knows how to do each harm."""

    def __init__(self, cluster: Cluster, proxies: tuple[FaultProxy, FaultProxy], load: Storm) -> None:
        self.cluster = cluster
        self.database, self.network = proxies
        self.load = load
        self.dice = random.Random(SEED)
        self.done: list[str] = []
        self.engine: ChildProcess | None = None

    async def start(self) -> None:
        """The first engine."""
        self.engine = await self.cluster.start("server")

    async def one(self) -> None:
        """Do one harm."""
        harms = (
            self.kill_engine, self.change_engine, self.kill_worker, self.cut_database, self.cut_network,
            self.cut_commit, self.end_backends, self.hold_database, self.hold_network,
        )  # fmt: skip
        harm = self.dice.choice(harms)
        self.done.append(harm.__name__)
        await harm()

    async def kill_engine(self) -> None:
        assert self.engine is not None
        await self.cluster.kill(self.engine)
        self.engine = await self.cluster.start("server")

    async def change_engine(self) -> None:
        assert self.engine is not None
        old = self.engine
        old.terminate()
        assert await old.wait(20.0) == 0
        self.engine = await self.cluster.start("server")

    async def kill_worker(self) -> None:
        self.dice.choice(list(self.load.workers.values())).kill_group()

    async def cut_database(self) -> None:
        self.database.cut()

    async def cut_network(self) -> None:
        self.network.cut()

    async def cut_commit(self) -> None:
        fault = self.dice.choice((Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.LOSE_ANSWER))
        self.database.on_pattern(COMMIT, fault, skip=self.dice.randrange(5))

    async def end_backends(self) -> None:
        await self.cluster.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'broadaxe%'"
        )

    async def hold_database(self) -> None:
        await self._held(self.database)

    async def hold_network(self) -> None:
        await self._held(self.network)

    async def _held(self, proxy: FaultProxy) -> None:
        way = self.dice.choice(tuple(Way))
        proxy.stall(way)
        seconds = self.dice.uniform(0.2, 3.0)
        # Time is the fault here: nothing happens that could be waited for.
        await asyncio.sleep(seconds)
        proxy.resume(way)


@soak
async def test_all_faults_in_random_order_every_acknowledged_run_ends_once(tmp_path: Path) -> None:
    clock = SystemClock()
    began = clock.monotonic()
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(tmp_path / "postgres")
        dsn = await postgres.start()
        stack.push_async_callback(postgres.stop)
        cluster = await stack.enter_async_context(
            running(dsn, tmp_path / "cluster", SERVER_WORKER_DEAD_AFTER="8s")
        )
        database = await stack.enter_async_context(FaultProxy(socket_of(postgres)))
        network = await stack.enter_async_context(FaultProxy(("127.0.0.1", cluster.grpc_port)))
        cluster.env["DATABASE_URL"] = through(dsn, database.port)
        load = await stack.enter_async_context(storm(cluster, tmp_path, SEED))
        load.address = f"127.0.0.1:{network.port}"
        chaos = Chaos(cluster, (database, network), load)
        await chaos.start()
        await load.start_workers(2)
        client = await stack.enter_async_context(Client(load.address, cluster.token, load.history))
        pace = asyncio.Semaphore(0)
        triggering = asyncio.create_task(load.trigger(client, TASKS, pace))
        share = TASKS // (FAULTS + 1)
        for _ in range(FAULTS):
            for _ in range(share):
                pace.release()
            await load.moved(chaos.dice.randint(1, share), 90.0)
            await chaos.one()
        for _ in range(TASKS - FAULTS * share):
            pace.release()
        async with asyncio.timeout(180):
            await triggering
        await cluster.until_settled(200)
        load.read_notes()
        verdict = await verify(dsn, load.history)
        assert len(load.history.triggered) == TASKS
        print(f"{verdict}; seed {SEED}: {FAULTS} faults in {clock.monotonic() - began:.0f} s: {chaos.done}")
