"""Servers and workers that die or are replaced, seen by the official Python SDK."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import grpc
import pytest
from gates import Gates
from hatchet_sdk import Hatchet
from hatchet_sdk.clients.rest.exceptions import ForbiddenException
from hatchet_sdk.clients.rest.models.v1_task_event_type import V1TaskEventType
from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
from hatchet_sdk.config import TenacityConfig
from sdk_models import Count, Gate
from sdk_server import Served, Worker
from sdk_workflows import flat

from broadaxe.testkit.conditions import until
from broadaxe.testkit.database import Databases

DEAD_AFTER = 14
"""Seconds; SDK workers send a heartbeat every 4, and this machine may stand still for some."""
RECONNECT = 90.0
"""Seconds within which the SDK's streams are back: it waits 3 s to 10 s between attempts."""


@pytest.fixture(scope="module")
async def fragile(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server that these tests kill and start again."""
    env = {"SERVER_WORKER_DEAD_AFTER": f"{DEAD_AFTER}s", "CACHE_DURATION": "1s"}
    served = Served(tmp_path_factory.mktemp("fragile"), await databases.empty(), env)
    await served.start()
    yield served
    await served.stop()


@pytest.fixture(scope="module")
async def steady(fragile: Served, gates: Gates) -> AsyncIterator[Worker]:
    """The worker that lives through it."""
    process = await fragile.worker("payloads", "waits", gates=gates.path, name="steady")
    await process.ready()
    yield process
    await process.stop()


@pytest.fixture(scope="module")
def client(fragile: Served) -> Hatchet:
    return fragile.client()


@pytest.fixture(scope="module")
def known(client: Hatchet) -> SimpleNamespace:
    return flat(client)


async def started(client: Hatchet, *runs: str) -> None:
    """The server has taken the reports of their starts: one that a kill loses is a task that may never have
    reached its worker, and that is given anew."""

    async def all_started() -> bool:
        found = [await client.runs.aio_get(run) for run in runs]
        return all(one.run.started_at is not None for one in found)

    await until(all_started, "the start of each is stored")


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_server_restart_keeps_running_and_waiting_tasks(
    fragile: Served,
    steady: Worker,
    client: Hatchet,
    known: SimpleNamespace,
    gates: Gates,
    gate: str,
    how: str,
) -> None:
    ends_meanwhile = await known.waits.aio_run(Gate(gate=gate), wait_for_result=False)
    later = [await known.waits.aio_run(Gate(gate=f"{gate}-later"), wait_for_result=False) for _ in range(3)]
    await gates.wait(gate)
    await gates.wait(f"{gate}-later", 3)
    await started(client, *(one.workflow_run_id for one in (ends_meanwhile, *later)))
    results = [asyncio.create_task(one.aio_result()) for one in (ends_meanwhile, *later)]
    if how == "kill":
        await fragile.kill()
    else:
        assert await fragile.stop_process() == 0
    # One ends while there is no server: the SDK sends its result again until it is taken. (Of several that
    # are sent at that moment it loses all but one: it closes their channel under them.)
    await gates.open(gate)
    await fragile.start()
    async with asyncio.timeout(RECONNECT):
        assert (await results[0])["attempt"] == 1
        await gates.open(f"{gate}-later")
        for answer in await asyncio.gather(*results):
            assert answer["attempt"] == 1
        assert (await known.counted.aio_run(Count(count=5)))["count"] == 5
    assert len(gates.at(gate)) == 1, "nothing ran twice"
    assert len(gates.at(f"{gate}-later")) == 3
    run = await client.runs.aio_get(ends_meanwhile.workflow_run_id)
    assert run.run.status == V1TaskStatus.COMPLETED
    assert steady.process.running


async def test_tasks_of_a_killed_worker_run_again_elsewhere(
    fragile: Served, client: Hatchet, gates: Gates, gate: str
) -> None:
    waits = flat(fragile.client(namespace="dying_")).waits
    dying = await fragile.worker("waits", gates=gates.path, namespace="dying_")
    dying_id = await dying.ready()
    references = [await waits.aio_run(Gate(gate=gate), wait_for_result=False) for _ in range(3)]
    assert {one.worker for one in await gates.wait(gate, 3)} == {dying_id}
    heir = await fragile.worker("waits", gates=gates.path, namespace="dying_")
    heir_id = await heir.ready()
    dying.kill()
    again = await gates.wait(gate, 3, timeout=DEAD_AFTER + 30, where=lambda one: one.retry == 1)
    assert {one.worker for one in again} == {heir_id}
    await gates.open(gate)
    for reference in references:
        result = await reference.aio_result()
        assert (result["attempt"], result["worker"]) == (2, heir_id)
    events = (await client.runs.aio_get(references[0].workflow_run_id)).task_events
    kinds = [event.event_type for event in events]
    assert kinds.count(V1TaskEventType.REASSIGNED) == 1
    assert (await client.workers.aio_get(dying_id)).status == "INACTIVE"
    await heir.stop()


async def test_revoked_token_is_refused_everywhere(fragile: Served) -> None:
    made = json.loads(await fragile.command("token", "create", "--name", "brief", "--json"))
    once = TenacityConfig(max_attempts=0)
    brief = fragile.client(token=made["token"], tenacity=once)
    await brief._client.admin.aio_put_workflow(flat(brief).nobodys.to_proto())
    await brief.workflows.aio_list()
    await fragile.command("token", "revoke", made["id"])

    async def refused() -> grpc.StatusCode | None:
        try:
            await flat(brief).nobodys.aio_run(wait_for_result=False)
        except grpc.RpcError as error:
            return error.code()
        return None

    assert await until(refused, "the token is refused", period=0.2) is grpc.StatusCode.UNAUTHENTICATED

    async def forbidden() -> bool:
        try:
            await brief.workflows.aio_list()
        except ForbiddenException:
            return True
        return False

    await until(forbidden, "REST refuses it as well", period=0.2)


async def test_restarted_server_keeps_ports_token_and_definitions(fragile: Served) -> None:
    before = dict(fragile.client_env)
    await fragile.stop_process()
    await fragile.start()
    assert fragile.client_env == before
