"""Clients that wait for results, watch runs and read chunks; details, logs and messages."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import InvalidArgument, NotFound, ResourceExhausted
from broadaxe.domain.task import TaskState
from broadaxe.engine.api import EventKind, NewLogLine, Origin, RunEvent, RunEventKind
from broadaxe.store.ledger import Message, MessageKind

from .harness import OTHER, TENANT, Bench, make_bench


async def ready_items(bench: Bench, source: AsyncIterator[Any]) -> list[Any]:
    """What can be read without waiting; the iteration may go on."""
    items: list[Any] = []
    while True:
        read = asyncio.ensure_future(anext(source, None))
        await bench.settle(5)
        if not read.done():
            read.cancel()
            return items
        item = read.result()
        if item is None:
            return items
        items.append(item)


async def test_subscription_before_the_end_is_answered_by_it_once() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run)
    assert await ready_items(bench, subscription) == []
    await bench.report(EventKind.COMPLETED, run, b'"out"', attempt=0)
    [finished] = await ready_items(bench, subscription)
    assert (finished.run_id, finished.results[0].output) == (run, b'"out"')
    subscription.add(run)
    assert len(await ready_items(bench, subscription)) == 1
    await bench.close()


@pytest.mark.parametrize("kept", [0, 100])
async def test_subscription_after_the_end_is_answered_from_memory_or_rows(kept: int) -> None:
    bench = await make_bench(finished_kept=kept)
    await bench.register()
    await bench.worker()
    runs = [await bench.trigger() for _ in range(3)]
    for run in runs:
        await bench.report(EventKind.FAILED, run, b"bad", attempt=0)
    reads = bench.ledger.reads
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    for run in runs:
        subscription.add(run)
    found = await ready_items(bench, subscription)
    assert [item.run_id for item in found] == runs
    assert found[0].results[0].error == b"bad"
    assert bench.ledger.reads == reads + (0 if kept else 1)
    await bench.close()


async def test_subscription_of_a_cancelled_run_has_an_empty_error() -> None:
    bench = await make_bench()
    await bench.register()
    run = await bench.trigger()
    await bench.engine.cancel(TENANT, [run], None, Origin())
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run)
    [finished] = await ready_items(bench, subscription)
    assert finished.results[0].error == b""
    assert finished.results[0].state is TaskState.CANCELLED
    await bench.close()


async def test_subscription_of_another_tenants_run_is_never_answered() -> None:
    bench = await make_bench(finished_kept=0)
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    subscription = bench.engine.subscribe_runs(OTHER, Origin())
    subscription.add(run)
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    late = bench.engine.subscribe_runs(OTHER, Origin())
    late.add(run)
    assert await ready_items(bench, subscription) == []
    assert await ready_items(bench, late) == []
    await bench.close()


async def test_subscription_that_is_slow_gets_everything_once_it_reads() -> None:
    bench = await make_bench(results_buffer=2)
    await bench.register()
    await bench.worker()
    runs = [await bench.trigger() for _ in range(6)]
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    for run in runs:
        subscription.add(run)
    for run in runs:
        await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert {item.run_id for item in await ready_items(bench, subscription)} == set(runs)
    await bench.close()


async def test_subscription_ends_when_the_process_drains() -> None:
    bench = await make_bench()
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    read = asyncio.ensure_future(anext(subscription, None))
    await bench.settle()
    await bench.engine.drain()
    assert await read is None
    await bench.engine.stop()


async def test_watch_of_a_run_ends_with_its_end() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    watch = await bench.engine.watch_run(TENANT, run)
    await bench.report(EventKind.COMPLETED, run, b'"x"', attempt=0)
    events = [event async for event in watch]
    assert [event.kind for event in events] == [RunEventKind.COMPLETED, RunEventKind.RUN_COMPLETED]
    assert [event.hangup for event in events] == [False, True]
    assert events[0].payload == b'"x"'
    assert [event async for event in await bench.engine.watch_run(TENANT, run)] == []
    await bench.close()


async def test_watch_of_an_unknown_run_waits_and_then_is_not_found() -> None:
    bench = await make_bench()
    call = asyncio.ensure_future(bench.engine.watch_run(TENANT, UUID(int=4)))
    await bench.settle()
    await bench.advance(9.9)
    assert not call.done()
    await bench.advance(0.2)
    with pytest.raises(NotFound):
        await call
    await bench.close()


async def test_watch_by_metadata_follows_all_runs_until_none_is_active() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    first = await bench.trigger(metadata=b'{"k":"v"}')
    watch = await bench.engine.watch_metadata(TENANT, "k", "v")
    second = await bench.trigger(metadata=b'{"k":"v"}')
    await bench.trigger(metadata=b'{"k":"other"}')
    await bench.report(EventKind.FAILED, first, b"no", attempt=0)
    await bench.report(EventKind.CANCELLED, second, attempt=0)
    events = [event async for event in watch]
    assert [(event.kind, event.run_id, event.hangup) for event in events] == [
        (RunEventKind.STARTED, second, False),
        (RunEventKind.FAILED, first, False),
        (RunEventKind.RUN_FAILED, first, False),
        (RunEventKind.CANCELLED, second, False),
        (RunEventKind.RUN_CANCELLED, second, True),
    ]
    await bench.close()


async def chunk(bench: Bench, run: UUID, index: int | None) -> None:
    await bench.engine.put_stream_event(TENANT, run, bench.clock.now(), str(index).encode(), index)


def chunks(events: list[RunEvent]) -> list[int | None]:
    return [event.event_index for event in events if event.kind is RunEventKind.STREAM]


async def test_chunks_are_put_in_order_and_a_gap_is_given_up_after_five_seconds() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    watch = await bench.engine.watch_run(TENANT, run)
    for index in (1, 0, 3, None):
        await chunk(bench, run, index)
    assert chunks(await ready_items(bench, watch)) == [0, 1, None]
    await bench.advance(4.5, 0.5)
    assert await ready_items(bench, watch) == []
    await bench.advance(1, 0.5)
    assert chunks(await ready_items(bench, watch)) == [3]
    await chunk(bench, run, 4)
    await chunk(bench, run, 2)
    assert chunks(await ready_items(bench, watch)) == [4, 2]
    await chunk(bench, run, 9)
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert [event.kind for event in await ready_items(bench, watch)] == [
        RunEventKind.STREAM,
        RunEventKind.COMPLETED,
        RunEventKind.RUN_COMPLETED,
    ]
    await bench.close()


async def test_chunks_of_a_further_attempt_begin_anew() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 1})
    await bench.worker()
    run = await bench.trigger()
    watch = await bench.engine.watch_run(TENANT, run)
    for index in (0, 1):
        await chunk(bench, run, index)
    await bench.report(EventKind.FAILED, run, b"no", attempt=0)
    for index in (0, 1):
        await chunk(bench, run, index)
    assert chunks(await ready_items(bench, watch)) == [0, 1, 0, 1]
    await bench.close()


async def test_chunk_of_an_unknown_task_is_not_found_and_of_a_finished_one_dropped() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    await chunk(bench, run, 0)
    with pytest.raises(NotFound):
        await chunk(bench, UUID(int=3), 0)
    await bench.close()


async def test_watcher_that_does_not_keep_up_is_cut_off() -> None:
    bench = await make_bench(watch_buffer=3)
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    watch = await bench.engine.watch_run(TENANT, run)
    for index in range(5):
        await chunk(bench, run, index)
    with pytest.raises(ResourceExhausted):
        [event async for event in watch]
    await bench.close()


async def test_details_are_what_was_acknowledged() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger({"a": 1})
    details = await bench.engine.run_details(TENANT, run)
    assert (details.state, details.done) == (TaskState.ASSIGNED, False)
    assert json.loads(details.input) == {"a": 1}
    await bench.report(EventKind.COMPLETED, run, b'"x"', attempt=0)
    details = await bench.engine.run_details(TENANT, run)
    assert (details.done, details.tasks[0].output, details.tasks[0].step_name) == (True, b'"x"', "step")
    with pytest.raises(NotFound):
        await bench.engine.run_details(OTHER, run)
    await bench.close()


async def test_log_lines_are_stored_with_the_attempt() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    at = bench.clock.now()
    await bench.engine.put_log(TENANT, NewLogLine(run, at, "warn", "careful"))
    assert [(line.level, line.message, line.attempt) for line in bench.tables.logs] == [
        ("WARN", "careful", 0)
    ]
    for level, message in (("LOUD", "x"), (None, ""), (None, "x" * 10_001)):
        with pytest.raises(InvalidArgument):
            await bench.engine.put_log(TENANT, NewLogLine(run, at, level, message))
    with pytest.raises(NotFound):
        await bench.engine.put_log(OTHER, NewLogLine(run, at, None, "x"))
    await bench.close()


async def test_messages_of_other_processes_are_acted_upon_with_the_sweep() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    paused = bench.tables.workers[worker.id].id
    await bench.ledger.set_paused(TENANT, paused, True)
    revoked: list[Message] = []
    bench.engine.sweep.on_token_revoked.append(revoked.append)
    await bench.ledger.post(
        [
            Message(TENANT, MessageKind.CANCEL, json.dumps({"ids": [str(run)]}).encode()),
            Message(TENANT, MessageKind.WORKER_CHANGED, json.dumps({"worker_id": str(worker.id)}).encode()),
            Message(TENANT, MessageKind.TOKEN_REVOKED, b"{}"),
            Message(TENANT, MessageKind.CANCEL, b"not json"),
            Message(TENANT, MessageKind.WORKFLOW_CHANGED, b"{}"),
        ]
    )
    bench.ledger.wake()
    await bench.settle()
    assert bench.state(run) is TaskState.CANCELLED
    assert bench.engine.memory.workers[worker.id].row.paused
    assert len(revoked) == 1
    assert bench.count("hatchet.sweep.found") == 0, "the sweep was told"
    await bench.ledger.post([Message(TENANT, MessageKind.REPLAY, json.dumps({"ids": [str(run)]}).encode())])
    await bench.advance(1.1)
    assert bench.state(run) is TaskState.QUEUED
    assert bench.count("hatchet.sweep.found") == 1, "nobody told it of this one"
    await bench.close()


async def test_readings_are_taken_once_a_minute_by_the_owner_alone() -> None:
    taken: list[str] = []

    async def read(name: str) -> None:
        taken.append(name)

    owner = await make_bench(readings=(partial(read, "owner"),))
    other = await make_bench(owner.tables, owner.clock, start=False, readings=(partial(read, "other"),))
    other.engine.start()
    await owner.advance(185, step=5)
    other.engine.timers_service.fire()
    await other.settle()
    assert taken == ["owner"] * 3
    await owner.close()
    await other.close()


async def test_gauges_answer_from_memory() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker(slots=2)
    for _ in range(3):
        await bench.trigger()
    gauges = {name: list(callback()) for name, callback in bench.meter.gauges.items()}
    assert gauges["hatchet.queue.depth"][0][0] == 1
    assert [value for value, _ in gauges["hatchet.worker.slots"]] == [2, 0]
    assert gauges["hatchet.runs.active"] == [(3, ())]
    assert gauges["hatchet.workers.active_count"][0][0] == 1
    assert gauges["hatchet.lease.epoch"][0][0] == 1
    assert bench.count("hatchet.tasks.created") == 3
    assert bench.count("hatchet.tasks.assigned") == 2
    await bench.close()
