"""kill -9 while events are pushed: what was acknowledged is there with its runs, the rest whole or not."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import pytest

from broadaxe.grpc_api.wire import events_pb2 as ev
from broadaxe.grpc_api.wire.v1 import workflows_pb2 as v1
from broadaxe.testkit.invariants import History, verify
from broadaxe.testkit.proxy import COMMIT, Fault, FaultProxy, Way
from tests.faults.cluster import through
from tests.faults.conftest import NewCluster
from tests.faults.wire import Client, Code, RawWorker, Refused

FLOWS = ("first", "second")
LINKED = """
    SELECT count(*) FROM user_event e
    WHERE (SELECT count(*) FROM event_run r JOIN task t ON t.id = r.run_id WHERE r.event_id = e.id) <> 2
"""


async def register(client: Client, name: str, key: str = "", status: bool = False) -> None:
    task = v1.CreateTaskOpts(readable_id="step", action=f"{name}:step", timeout="10s", inputs="{}")
    request = v1.CreateWorkflowVersionRequest(name=name, tasks=[task], event_triggers=["kill:*"])
    if key:
        method = v1.STATUS if status else v1.TTL
        request.idempotency.CopyFrom(v1.IdempotencyConfig(expression=key, ttl_ms=600_000, method=method))
    await client.call("/v1.AdminService/PutWorkflow", request, v1.CreateWorkflowVersionResponse)


async def push(client: Client, number: int) -> UUID:
    request = ev.PushEventRequest(key=f"kill:{number}", payload=json.dumps({"n": number}))
    return UUID((await client.call("/EventsService/Push", request, ev.Event)).event_id)


async def test_acknowledged_events_have_all_their_runs_after_a_kill(new_cluster: NewCluster) -> None:
    cluster = await new_cluster()
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        for name in FLOWS:
            await register(client, name)
        acknowledged: list[UUID] = []
        enough = asyncio.Event()

        async def pusher(first: int) -> None:
            for number in range(first, first + 1_000):
                acknowledged.append(await push(client, number))
                if len(acknowledged) >= 200:
                    enough.set()

        pushers = [asyncio.create_task(pusher(1_000 * at)) for at in range(4)]
        await asyncio.wait_for(enough.wait(), 30)
        await cluster.kill(engine)
        ended = await asyncio.gather(*pushers, return_exceptions=True)
        assert all(isinstance(one, Refused) for one in ended)
        await cluster.start()
        stored = {row[0] for row in await cluster.fetch("SELECT id FROM user_event")}
        assert set(acknowledged) <= stored
        assert await cluster.value(LINKED) == 0
        for row in await cluster.fetch("SELECT run_id FROM event_run"):
            client.history.triggered.add(row[0])
        workers = [await RawWorker.register(client, name, name, slots=100) for name in FLOWS]
        async with workers[0], workers[1]:
            for worker in workers:
                worker.auto = worker.complete
            await cluster.until_settled()
        await verify(cluster.dsn, client.history)


@pytest.mark.parametrize("answer", [False, True], ids=["commit-lost", "answer-lost"])
async def test_a_push_cut_at_its_commit_is_whole_or_nothing(
    new_cluster: NewCluster, database_socket: Path, answer: bool
) -> None:
    async with FaultProxy(database_socket) as proxy:
        cluster = await new_cluster()
        cluster.env["DATABASE_URL"] = through(cluster.dsn, proxy.port)
        engine = await cluster.start()
        async with Client(cluster.address, cluster.token, History()) as client:
            for name in FLOWS:
                await register(client, name)
            await push(client, 0)
            way = Way.TO_CLIENT if answer else Way.TO_SERVER
            held = proxy.on_pattern(COMMIT, Fault.STALL, way)
            pushed = asyncio.create_task(push(client, 1))
            await held.wait()
            assert not pushed.done()
            await cluster.kill(engine)
            proxy.cut()
            await proxy.wait_connected(lambda count: count == 0)
            proxy.resume()
            with pytest.raises(Refused) as told:
                await pushed
            assert told.value.code in (Code.UNAVAILABLE, Code.CANCELLED)
            await cluster.start()
            assert await cluster.value("SELECT count(*) FROM user_event") == (2 if answer else 1)
            assert await cluster.value(LINKED) == 0


async def test_a_status_key_is_held_over_a_kill_and_freed_by_the_end(new_cluster: NewCluster) -> None:
    cluster = await new_cluster()
    engine = await cluster.start()
    async with Client(cluster.address, cluster.token, History()) as client:
        await register(client, "once", "input.id", status=True)
        first = await client.trigger("once", id="a")
        await cluster.kill(engine)
        await cluster.start()
        with pytest.raises(Refused) as told:
            await client.trigger("once", id="a")
        assert (told.value.code, told.value.text) == (Code.ALREADY_EXISTS, "idempotency key collision")
        worker = await RawWorker.register(client, "one", "once")
        async with worker:
            worker.auto = worker.complete
            await cluster.until_settled()
            assert await client.trigger("once", id="a") != first
            await cluster.until_settled()
        assert await cluster.value("SELECT count(*) FROM idempotency_key") == 0
        await verify(cluster.dsn, client.history)
