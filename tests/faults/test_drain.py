"""SIGTERM, rolling changes and readiness: nothing that was told to anybody is lost."""

import asyncio
from functools import partial
from pathlib import Path

import httpx
import pytest

from broadaxe.clock import SystemClock
from broadaxe.testkit.collector import Collector, Mood
from broadaxe.testkit.conditions import until
from broadaxe.testkit.fifo import Fifo
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.ports import free_port
from broadaxe.testkit.proxy import FaultProxy
from tests.faults.cluster import OWNS, READY, Cluster, through
from tests.faults.conftest import NewCluster
from tests.faults.rolling import change, ended, given_up, next_engine
from tests.faults.storm import release, storm
from tests.faults.wire import Client, Code, RawWorker

FLOW = "drain"
TASKS = 300
clock = SystemClock()


async def page(port: int, path: str) -> int:
    """The status of a page of a health port."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}{path}")).status_code


async def lives(port: int) -> bool:
    """Whether the process behind this health port answers."""
    try:
        return await page(port, "/live") == 200
    except httpx.TransportError:
        return False


async def test_sigterm_streams_end_with_ok_and_unfinished_work_goes_on_elsewhere(cluster: Cluster) -> None:
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW)
        worker = await RawWorker.register(client, "one", FLOW, slots=2)
        async with worker:
            runs = await client.trigger_many(FLOW, 6)
            await worker.wait(lambda: len(worker.got) == 2, "two tasks")
            took = await ended(engine)
            await worker.wait(lambda: worker.stream_ends, "the end of the stream")
            assert worker.stream_ends[0] is Code.OK
            assert await cluster.value("SELECT released_at IS NOT NULL FROM lease") is True
            reports = [asyncio.create_task(worker.complete(got)) for got in worker.got]
            worker.auto = worker.complete
            await cluster.start()
            await asyncio.gather(*reports)
            await cluster.until_settled(30)
            await verify(cluster.dsn, client.history)
    assert {task for task, _, _ in client.history.starts} == set(runs)
    assert {attempt for _, attempt, _ in client.history.starts} == {0}
    print(f"SIGTERM with work under way: {took:.2f} s")


@pytest.mark.parametrize("collector", ["none there", "hanging", "refusing"])
async def test_sigterm_with_a_bad_collector_exits_0_in_time(new_cluster: NewCluster, collector: str) -> None:
    moods = {"hanging": Mood.HANGING, "refusing": Mood.REFUSING}
    async with Collector(moods.get(collector, Mood.NORMAL)) as there:
        target = there.target if collector in moods else f"127.0.0.1:{free_port()}"
        cluster = await new_cluster(SERVER_OTEL_COLLECTOR_URL=target, SERVER_OTEL_INSECURE="true")
        engine = await cluster.start("server")
        async with Client(cluster.address, cluster.token, History()) as client:
            await client.put_workflow(FLOW)
            worker = await RawWorker.register(client, "one", FLOW)
            worker.auto = worker.complete
            async with worker:
                await client.trigger_many(FLOW, 50)
                await cluster.until_settled(30)
                took = await ended(engine)
        await verify(cluster.dsn, client.history)
        assert "Traceback" not in engine.output("err")
    print(f"collector {collector}: SIGTERM took {took:.2f} s")


async def test_sigterm_while_the_database_is_away_exits_in_time(
    new_cluster: NewCluster, database_socket: Path
) -> None:
    async with FaultProxy(database_socket) as proxy:
        cluster = await new_cluster(SERVER_GRPC_SHUTDOWN_TIMEOUT="3s")
        cluster.env["DATABASE_URL"] = through(cluster.dsn, proxy.port)
        engine = await cluster.start()
        async with Client(cluster.address, cluster.token, History()) as client:
            await client.put_workflow(FLOW)
            worker = await RawWorker.register(client, "one", FLOW)
            async with worker:
                run_id = await client.trigger(FLOW)
                start = await worker.start_of(run_id, 0)
                mark = engine.mark
                await proxy.stop()
                report = asyncio.create_task(worker.complete(start))
                await engine.wait_line("database is away", since=mark)
                began = clock.monotonic()
                engine.terminate()
                assert await engine.wait(20.0) == 0
                print(f"SIGTERM without a database: {clock.monotonic() - began:.2f} s")
                await proxy.start()
                await cluster.start()
                await report
                await cluster.until_settled(30)
        await verify(cluster.dsn, client.history)
        assert await cluster.value("SELECT attempt FROM task WHERE id = $1", run_id) == 0


async def test_sigterm_serves_on_for_the_shutdown_wait_told_not_ready(new_cluster: NewCluster) -> None:
    cluster = await new_cluster(SERVER_SHUTDOWN_WAIT="10m")
    server = await cluster.start("server")
    mark = server.mark
    server.terminate()
    await server.wait_line("serving on for 600 s", since=mark)
    assert (await cluster.health("/ready"), await cluster.health("/live")) == (500, 200)
    assert (await page(cluster.rest_port, "/api/ready"), await page(cluster.rest_port, "/api/live")) == (
        500,
        200,
    )
    # Who comes now, sent here by a balancer that has not noticed, is served.
    async with Client(cluster.address, cluster.token, History()) as client:
        await client.put_workflow(FLOW)
        worker = await RawWorker.register(client, "one", FLOW)
        worker.auto = worker.complete
        async with worker:
            await client.trigger_many(FLOW, 3)
            await cluster.until_settled(30)
            print(f"after the second signal: {await ended(server):.2f} s")
            # Once it has ended nobody listens here, which the worker may have tried by now.
            assert worker.stream_ends[0] is Code.OK
        await verify(cluster.dsn, client.history)


async def test_sigterm_ends_by_itself_after_the_shutdown_wait(new_cluster: NewCluster) -> None:
    cluster = await new_cluster(SERVER_SHUTDOWN_WAIT="300ms")
    assert await ended(await cluster.start()) > 0.3


async def test_second_engine_is_ready_beside_the_first_and_stays_so_alone(cluster: Cluster) -> None:
    first = await cluster.start()
    second_health = free_port()
    second = await cluster.launch(
        SERVER_HEALTHCHECK_PORT=str(second_health),
        SERVER_PROMETHEUS_ENABLED="false",
    )

    await until(partial(lives, second_health), "the second engine lives", 20.0, period=0.05)
    await second.wait_line(READY, 30.0)
    assert await cluster.health("/ready") == 200
    assert await page(second_health, "/ready") == 200
    mark = second.mark
    await ended(first)
    await second.wait_line(OWNS, 30.0, since=mark)
    assert await page(second_health, "/ready") == 200
    await ended(second)


@pytest.mark.slow
async def test_rolling_change_under_load_loses_nothing_and_goes_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    engine = await cluster.start("engine")
    async with storm(cluster, tmp_path, seed=7) as load:
        await load.start_workers(2)
        async with Client(cluster.address, cluster.token, load.history) as client:
            pace = asyncio.Semaphore(0)
            triggering = asyncio.create_task(load.trigger(client, TASKS, pace))
            for _ in range(2):
                old, engine = engine, await next_engine(cluster)
                release(pace, TASKS // 3)
                await load.moved(60)
                await change(old, engine)
            release(pace, TASKS)
            async with asyncio.timeout(90):
                await triggering
        await cluster.until_settled(60)
        load.read_notes()
        # Two engines take triggers at one address: nobody can say who created what.
        verdict = await verify(cluster.dsn, load.history, fifo=Fifo.NOBODY)
        assert len(load.history.triggered) == TASKS
        assert verdict.epochs == 3
        # A clean change costs no task an attempt: only tasks that failed on purpose ran twice.
        again = await given_up(cluster)
        print(f"{verdict}, {load.refusals} refused triggers, {len(again)} attempts given up")
        assert not again, "\n".join(map(str, again))
        # Clients are elsewhere before the engine begins to refuse.
        assert load.refusals == 0
