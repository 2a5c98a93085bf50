"""Slots, priorities, labels, pausing and draining of workers with the official Python SDK."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from gates import Gates
from hatchet_sdk import Hatchet, RunStatus
from hatchet_sdk.types.labels import DesiredWorkerLabel, WorkerLabelComparator
from hatchet_sdk.types.priority import Priority
from sdk_models import Gate, Labels
from sdk_server import Served, Worker
from sdk_workflows import flat

from broadaxe.testkit.conditions import until


@pytest.fixture(scope="module")
async def narrow(server: Served, gates: Gates) -> AsyncIterator[Worker]:
    """A worker with two slots and labels."""
    process = await server.worker(
        "narrow", gates=gates.path, name="narrow", slots=2, labels=("model=fancy", "memory=64")
    )
    await process.ready()
    yield process
    await process.stop()


pytestmark = pytest.mark.usefixtures("narrow")


async def test_higher_priority_goes_first_then_the_older(
    flows: SimpleNamespace, gates: Gates, gate: str
) -> None:
    holder = await flows.costly.aio_run(Gate(gate=gate), wait_for_result=False)
    await gates.wait(gate)
    priorities = [Priority.LOW, Priority.HIGH, Priority.LOW, Priority.MEDIUM, Priority.HIGH]
    references = [
        await flows.costly.aio_run(Gate(gate=f"seen:{gate}"), wait_for_result=False, priority=priority)
        for priority in priorities
    ]
    assert gates.at(f"seen:{gate}") == []
    await gates.open(gate)
    await holder.aio_result()
    results = await asyncio.gather(*(one.aio_result() for one in references))
    assert [one["priority"] for one in results] == [1, 3, 1, 2, 3]
    order = [one.run for one in gates.at(f"seen:{gate}")]
    ids = [one.workflow_run_id for one in references]
    assert order == [ids[1], ids[4], ids[3], ids[0], ids[2]]


async def test_task_that_costs_two_slots_waits_for_both(
    flows: SimpleNamespace, gates: Gates, gate: str, hatchet: Hatchet
) -> None:
    first = await flows.cheap.aio_run(Gate(gate=gate), wait_for_result=False)
    await gates.wait(gate)
    costly = await flows.costly.aio_run(Gate(gate=f"seen:{gate}"), wait_for_result=False)
    # A task that fits still runs beside the first: the costly one does not block it.
    assert (await flows.cheap.aio_run(Gate(gate=f"seen:{gate}-2")))["gate"]
    assert (await hatchet.runs.aio_get_details(costly.workflow_run_id)).status == RunStatus.QUEUED
    await gates.open(gate)
    await first.aio_result()
    await costly.aio_result()


async def test_released_slot_takes_the_next_task(flows: SimpleNamespace, gates: Gates, gate: str) -> None:
    holder = await flows.releases.aio_run(Gate(gate=gate), wait_for_result=False)
    await gates.wait(gate)
    await flows.costly.aio_run(Gate(gate=f"seen:{gate}"))
    await gates.open(gate)
    assert await holder.aio_result() == {"released": True}


async def test_required_label_chooses_the_worker(
    flows: SimpleNamespace, hatchet: Hatchet, narrow: Worker
) -> None:
    assert (await flows.chooses.aio_run())["worker"] == await narrow.ready()
    wanted = DesiredWorkerLabel(
        key="memory", value=65, required=True, comparator=WorkerLabelComparator.GREATER_THAN_OR_EQUAL
    )
    waiting = await flows.chooses.aio_run(desired_worker_labels=[wanted], wait_for_result=False)
    assert (await hatchet.runs.aio_get_details(waiting.workflow_run_id)).status == RunStatus.QUEUED
    # The worker's label changes while it runs: now it fits.
    relabelled = await flows.relabels.aio_run(Labels(labels={"memory": 128}))
    assert relabelled["labels"]["memory"] == 128
    async with asyncio.timeout(30):
        await waiting.aio_result()
    worker = await hatchet.workers.aio_get(await narrow.ready())
    assert {label.key: label.value for label in worker.labels or []}["memory"] == "128"


async def test_paused_worker_gets_nothing_until_it_goes_on(
    flows: SimpleNamespace, hatchet: Hatchet, narrow: Worker, gates: Gates, gate: str
) -> None:
    worker_id = await narrow.ready()
    paused = await hatchet.workers.aio_pause(worker_id)
    assert paused.status == "PAUSED"
    waiting = await flows.cheap.aio_run(Gate(gate=f"seen:{gate}"), wait_for_result=False)
    assert (await hatchet.runs.aio_get_details(waiting.workflow_run_id)).status == RunStatus.QUEUED
    assert (await hatchet.workers.aio_get(worker_id)).status == "PAUSED"
    await hatchet.workers.aio_unpause(worker_id)
    async with asyncio.timeout(30):
        await waiting.aio_result()
    assert (await hatchet.workers.aio_get(worker_id)).status == "ACTIVE"


async def test_sigterm_pauses_the_worker_finishes_its_tasks_and_leaves(
    server: Served, hatchet: Hatchet, gates: Gates, gate: str
) -> None:
    waits = flat(server.client(namespace="leaving_")).waits
    leaving = await server.worker("waits.waits", gates=gates.path, namespace="leaving_")
    worker_id = await leaving.ready()
    running = await waits.aio_run(Gate(gate=gate), wait_for_result=False)
    (arrival,) = await gates.wait(gate)
    assert arrival.worker == worker_id
    leaving.process.terminate()

    async def paused() -> bool:
        return bool((await hatchet.workers.aio_get(worker_id)).status == "PAUSED")

    await until(paused, "the worker is paused", period=0.1)
    later = await waits.aio_run(Gate(gate=f"seen:{gate}"), wait_for_result=False)
    await gates.open(gate)
    assert (await running.aio_result())["worker"] == worker_id
    assert await leaving.process.wait(45) == 0
    assert '{"lifespan": "ended"}' in leaving.process.output("out")
    assert (await hatchet.runs.aio_get_details(later.workflow_run_id)).status == RunStatus.QUEUED
    follower = await server.worker("waits.waits", gates=gates.path, namespace="leaving_")
    assert (await later.aio_result())["worker"] == await follower.ready()
    await follower.stop()


async def test_workers_that_register_the_same_workflows_at_once_both_serve(
    server: Served, flows: SimpleNamespace, hatchet: Hatchet, gates: Gates
) -> None:
    twins = await asyncio.gather(
        *(server.worker("payloads", gates=gates.path, name=f"twin-{at}", slots=3) for at in range(2))
    )
    ids = await asyncio.gather(*(one.ready() for one in twins))
    items = [flows.echo.create_bulk_run_item() for _ in range(40)]
    results = await flows.echo.aio_run_many(items)
    assert {one["worker"] for one in results} >= set(ids)
    await asyncio.gather(*(one.stop() for one in twins))
