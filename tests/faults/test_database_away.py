"""PostgreSQL is stopped, killed, or cuts single connections, while workers report and clients trigger."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from broadaxe.clock import SystemClock
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.conditions import until
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.process import ChildProcess
from broadaxe.testkit.proxy import FaultProxy
from tests.faults.cluster import Cluster, running, through
from tests.faults.conftest import NewCluster
from tests.faults.wire import COMPLETED, Client, Code, RawWorker, Refused

FLOW = "away"
clock = SystemClock()


@dataclass
class Stage:
    """A serving engine, a client and a worker."""

    cluster: Cluster
    engine: ChildProcess
    client: Client
    worker: RawWorker

    async def away(self, since: int) -> None:
        """Wait until the engine noticed."""
        await self.engine.wait_line("database is away", since=since)

    async def back(self, since: int) -> None:
        """Wait until the engine noticed that, too."""
        await self.engine.wait_line("database is back", 30.0, since=since)

    async def settle(self) -> None:
        """All ended, all invariants; the process never restarted."""
        await self.cluster.until_settled(40)
        assert self.engine.running
        await verify(self.cluster.dsn, self.client.history)


async def set_up(cluster: Cluster) -> AsyncIterator[Stage]:
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW, retries=3, timeout="120s")
        async with await RawWorker.register(client, "one", FLOW, slots=20) as worker:
            yield Stage(cluster, engine, client, worker)


@pytest.fixture
async def stage(cluster: Cluster) -> AsyncIterator[Stage]:
    async for made in set_up(cluster):
        yield made


async def refused_code(client: Client) -> tuple[Code, float]:
    """How a trigger is refused, and after how long."""
    began = clock.monotonic()
    with pytest.raises(Refused) as refused:
        await client.trigger(FLOW)
    return refused.value.code, clock.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_postgres_gone_and_back_nothing_lost_without_a_restart(tmp_path: Path, how: str) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    dsn = await postgres.start()
    try:
        async with running(dsn, tmp_path / "cluster") as cluster:
            async for stage in set_up(cluster):
                await through_an_outage(stage, postgres, how)
    finally:
        await postgres.stop()


async def through_an_outage(stage: Stage, postgres: EmbeddedPostgres, how: str) -> None:
    """Take the database away while tasks run, look at what is answered meanwhile, and bring it back."""
    cluster, client, worker = stage.cluster, stage.client, stage.worker
    runs = [await client.trigger(FLOW) for _ in range(10)]
    await worker.wait(lambda: len(worker.got) == 10, "ten tasks")
    epoch = await cluster.value("SELECT epoch FROM lease")
    mark = stage.engine.mark
    if how == "stopped":
        await postgres.stop()
    else:
        # Its keeper would bring it back at once: it is stopped from doing so by being told to end first.
        assert postgres.pid is not None
        os.kill(postgres.pid, signal.SIGKILL)
    reports = [asyncio.create_task(worker.report(got, COMPLETED, "{}", 60.0)) for got in worker.got]
    if how == "stopped":
        await stage.away(mark)
        code, waited = await refused_code(client)
        assert code is Code.UNAVAILABLE
        assert waited < 30.0, "a short wait, not the five minutes of a report"
        beats = len(worker.beat_answers)
        await worker.wait(lambda: len(worker.beat_answers) >= beats + 2, "two more heartbeats")
        assert set(worker.beat_answers[beats:]) == {Code.OK}
        assert not any(report.done() for report in reports)
        assert await cluster.health("/live") == 200
        assert await cluster.health("/ready") == 500
        assert await postgres.start() == cluster.dsn
    await asyncio.gather(*reports)
    if how == "stopped":
        await stage.back(mark)
    worker.auto = worker.complete
    runs += [await client.trigger_patiently(FLOW) for _ in range(10)]
    await stage.settle()
    assert worker.stream_ends == [], "the stream was cut by an outage of the database"
    assert await cluster.value("SELECT epoch FROM lease") == epoch
    assert await cluster.value("SELECT count(*) FROM task WHERE state = 10 AND attempt = 0") == 20
    assert {task for task, _, _ in client.history.starts} >= set(runs)


async def terminate(cluster: Cluster, role: str) -> int:
    """End the server side of the engine's connections of this role; how many."""
    rows = await cluster.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE $1",
        f"%-{role}",
    )
    return len(rows)


@pytest.mark.parametrize("role", ["writer", "lease", "pool"])
async def test_connection_terminated_under_load_nothing_lost(stage: Stage, role: str) -> None:
    stage.worker.auto = stage.worker.complete
    epoch = await stage.cluster.value("SELECT epoch FROM lease")
    cut = 0
    runs: list[UUID] = []

    async def trigger() -> None:
        # Whether a connection is there to be cut at a moment is up to the machine: until some were.
        for number in itertools.count():
            if number >= 15 and cut >= 3:
                return
            run_id = await stage.client.trigger_patiently(FLOW)
            await stage.client.details(run_id)
            runs.append(run_id)

    triggering = asyncio.gather(*(trigger() for _ in range(10)))
    while not triggering.done():
        before = len(stage.client.history.triggered)
        cut += await terminate(stage.cluster, role)
        assert len(runs) < 5_000, f"only {cut} connections could be cut"
        await until(
            lambda: triggering.done() or len(stage.client.history.triggered) >= before + 15,  # noqa: B023
            "more triggers",
        )
    await triggering
    await stage.settle()
    assert cut >= 3
    assert await stage.cluster.value("SELECT epoch FROM lease") == epoch
    # Nobody had to repeat anything: what was cut was asked about and redone inside.
    assert await stage.cluster.value("SELECT count(*) FROM task") == len(runs) >= 150
    assert await stage.cluster.value("SELECT count(*) FROM attempt") == 0


async def test_lease_connection_cut_is_taken_up_again_with_the_same_epoch(stage: Stage) -> None:
    cluster = stage.cluster
    epoch = await cluster.value("SELECT epoch FROM lease")
    locks = (
        "FROM pg_locks WHERE locktype = 'advisory' AND classid = 1650554981 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await cluster.until_value(f"SELECT count(*) {locks}", 1)
    holder = await cluster.value(f"SELECT pid {locks}")
    assert await terminate(cluster, "lease") == 1
    await cluster.until_value(f"SELECT count(*) {locks} AND pid <> $1", 1, 20.0, holder)
    stage.worker.auto = stage.worker.complete
    await stage.client.trigger(FLOW)
    await stage.settle()
    assert await cluster.value("SELECT epoch FROM lease") == epoch


async def test_lease_taken_by_another_engine_while_cut_off_the_first_stops_acting(
    new_cluster: NewCluster, database_socket: Path
) -> None:
    """A partition between the first engine and the database: the second takes over with the next epoch."""
    async with FaultProxy(database_socket) as proxy:
        cluster = await new_cluster()
        first = await cluster.start(
            DATABASE_URL=through(cluster.dsn, proxy.port), SERVER_GRPC_SHUTDOWN_TIMEOUT="2s"
        )
        async with Client(cluster.address, cluster.token, History()) as client:
            await client.put_workflow(FLOW, retries=3)
            worker = await RawWorker.register(client, "one", FLOW)
            async with worker:
                run_id = await client.trigger(FLOW)
                start = await worker.start_of(run_id, 0)
                mark = first.mark
                await proxy.stop()
                await first.wait_line("database is away", since=mark)
                report = asyncio.create_task(worker.complete(start))
                second = await cluster.start(
                    SERVER_HEALTHCHECK_ENABLED="false", SERVER_HEALTHCHECK="false",
                    SERVER_PROMETHEUS_ENABLED="false",
                )  # fmt: skip
                await cluster.until_value("SELECT epoch FROM lease", 2)
                await proxy.start()
                await first.wait_line("Another engine owns", 30.0, since=mark)
                assert await first.stop() == 0
                await report
                worker.auto = worker.complete
                await cluster.until_settled(40)
                await verify(cluster.dsn, client.history)
                assert second.running


async def test_database_that_turns_read_only_is_away_until_it_writes_again(stage: Stage) -> None:
    cluster, worker = stage.cluster, stage.worker
    run_id = await stage.client.trigger(FLOW)
    start = await worker.start_of(run_id, 0)
    name = await cluster.value("SELECT current_database()")
    mark = stage.engine.mark
    await cluster.fetch(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    for role in ("writer", "lease", "pool"):
        await terminate(cluster, role)
    report = asyncio.create_task(worker.report(start, COMPLETED, "{}", 60.0))
    await stage.away(mark)
    code, _ = await refused_code(stage.client)
    assert code is Code.UNAVAILABLE
    assert not report.done()
    writable = await asyncpg.connect(cluster.dsn, server_settings={"default_transaction_read_only": "off"})
    await writable.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    await writable.close()
    await stage.back(mark)
    await report
    worker.auto = worker.complete
    await stage.client.trigger_patiently(FLOW)
    await stage.settle()


async def test_locked_table_delays_and_loses_nothing(stage: Stage) -> None:
    cluster, worker = stage.cluster, stage.worker
    worker.auto = worker.complete
    locker = await asyncpg.connect(cluster.dsn)
    transaction = locker.transaction()
    await transaction.start()
    await locker.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
    try:
        triggers = [asyncio.create_task(stage.client.trigger_patiently(FLOW)) for _ in range(20)]
        waits = (
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> $1"
        )
        await cluster.until_value(waits, True, 10.0, locker.get_server_pid())
        beats = len(worker.beat_answers)
        await worker.wait(lambda: len(worker.beat_answers) > beats, "a heartbeat meanwhile")
        assert worker.beat_answers[-1] is Code.OK
    finally:
        await transaction.rollback()
        await locker.close()
    await asyncio.gather(*triggers)
    await stage.settle()
    assert len(stage.client.history.triggered) == 20
