"""Behind Debian's pgbouncer in transaction mode: the main job, a kill -9, and pgbouncer itself dying."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from broadaxe.app.doctor.examination import examine
from broadaxe.app.doctor.findings import Area, Level
from broadaxe.config.loader import load_settings
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.testkit.database import Databases
from broadaxe.testkit.invariants import History, verify
from tests.faults.cluster import Cluster, running
from tests.faults.pgbouncer import SERVER_CONNECTIONS, Pgbouncer, pgbouncer
from tests.faults.wire import Client, RawWorker

FLOW = "pooled"


@pytest.fixture
async def pooler(database_server: EmbeddedPostgres) -> AsyncIterator[Pgbouncer]:
    """In front of the test run's PostgreSQL."""
    async with pgbouncer(database_server) as one:
        yield one


@pytest.fixture
async def cluster(pooler: Pgbouncer, databases: Databases, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Engines whose reads and commits go through it."""
    dsn = await databases.empty()
    async with running(dsn, tmp_path / "cluster", DATABASE_PGBOUNCER_URL=pooler.through(dsn)) as made:
        yield made
    await databases.drop(dsn)


async def sessions(cluster: Cluster) -> dict[str, int]:
    """PostgreSQL's sessions of this database by who asked for them last."""
    rows = await cluster.fetch(
        "SELECT application_name, count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'broadaxe%' GROUP BY 1"
    )
    return {row[0]: row[1] for row in rows}


async def test_main_job_and_a_kill(cluster: Cluster) -> None:
    engine = await cluster.start("server")
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW, retries=2)
        worker = await RawWorker.register(client, "one", FLOW, slots=10)
        async with worker:
            runs = await client.trigger_many(FLOW, 60)
            await worker.wait(lambda: len(worker.got) >= 10, "ten tasks")
            held = list(worker.got)
            for got in held[:5]:
                await worker.complete(got)
            # Reads of many at once, so that the few sessions change hands.
            await asyncio.gather(*(client.details(run) for run in runs))
            names = await sessions(cluster)
            pooled = sum(count for name, count in names.items() if not name.endswith(("-lease", "-probe")))
            assert 1 <= pooled <= SERVER_CONNECTIONS, names
            assert names["broadaxe-server-lease"] == 1, "leases have a session of their own"
            await cluster.kill(engine)
            await cluster.start("server")
            worker.auto = worker.complete
            for got in held[5:]:
                await worker.complete(got)
            await cluster.until_settled()
        await verify(cluster.dsn, client.history)
    assert len(await cluster.listed()) == 60


async def test_dead_pooler_is_a_database_that_is_away(cluster: Cluster, pooler: Pgbouncer) -> None:
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW, retries=2)
        worker = await RawWorker.register(client, "one", FLOW, slots=4)
        async with worker:
            await client.trigger_many(FLOW, 8)
            await worker.wait(lambda: len(worker.got) == 4, "four tasks")
            pooler.end()
            reports = [asyncio.create_task(worker.complete(got)) for got in list(worker.got)]
            await engine.wait_line("database is away", 20)
            worker.auto = worker.complete
            await pooler.start()
            await asyncio.gather(*reports)
            await cluster.until_settled()
        await verify(cluster.dsn, client.history)


async def test_engines_that_reach_nothing_but_a_pooler(cluster: Cluster, pooler: Pgbouncer) -> None:
    """Leases end by time there: a dead engine's are taken when it was silent for long enough."""
    only = {
        "DATABASE_URL": pooler.through(cluster.dsn),
        "DATABASE_PGBOUNCER_URL": "",
        "SERVER_LEASE_BY": "time",
        "SERVER_LEASE_LIFE": "2s",
        "SERVER_ENGINE_DEAD_AFTER": "2s",
    }
    engine = await cluster.start(**only)
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW, retries=2)
        worker = await RawWorker.register(client, "one", FLOW, slots=5)
        async with worker:
            await client.trigger_many(FLOW, 30)
            await worker.wait(lambda: len(worker.got) >= 5, "five tasks")
            held = list(worker.got)
            for got in held[:3]:
                await worker.complete(got)
            locks = (
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            assert await cluster.value(locks) == 0
            await cluster.kill(engine)
            await cluster.start(**only)
            worker.auto = worker.complete
            for got in held[3:]:
                await worker.complete(got)
            await cluster.until_settled()
        await verify(cluster.dsn, client.history)
    names = await sessions(cluster)
    assert 1 <= sum(names.values()) <= SERVER_CONNECTIONS, names


async def test_settings_of_a_transaction_do_not_stay_in_the_shared_session(
    cluster: Cluster, pooler: Pgbouncer
) -> None:
    await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW)
        await client.trigger_many(FLOW, 5)
    stranger = await asyncpg.connect(pooler.through(cluster.dsn), statement_cache_size=0)
    try:
        for _ in range(2 * SERVER_CONNECTIONS):
            assert await stranger.fetchval("SHOW enable_seqscan") == "on"
            assert await stranger.fetchval("SHOW statement_timeout") == "0"
    finally:
        await stranger.close()


async def test_doctor_says_that_the_direct_address_is_a_pooler(cluster: Cluster, pooler: Pgbouncer) -> None:
    loaded = load_settings({**cluster.env, "DATABASE_URL": pooler.through(cluster.dsn)})
    (finding,) = await examine(loaded, 1.0, [Area.DATABASE])
    assert finding.level is Level.PROBLEM
    assert "DATABASE_PGBOUNCER_URL" in finding.text


async def test_doctor_looks_through_the_pooler(cluster: Cluster, pooler: Pgbouncer) -> None:
    loaded = load_settings(cluster.env)
    good = await examine(loaded, 1.0, [Area.DATABASE])
    assert [one for one in good if one.level is not Level.OK] == []
    assert any(one.name == "pooler" for one in good)
    pooler.end()
    bad = await examine(loaded, 1.0, [Area.DATABASE])
    (finding,) = [one for one in bad if one.level is not Level.OK]
    assert finding.name == "pooler"
    assert "connection refused" in finding.text
