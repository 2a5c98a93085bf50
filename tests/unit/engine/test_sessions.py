"""Streams that open, end and die, and processes that take over from each other."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import FailedPrecondition, NotFound, ResourceExhausted, Unavailable
from broadaxe.domain.task import TaskState
from broadaxe.engine.api import EventKind, NewWorker, Origin, WorkerAction, WorkerEvent
from broadaxe.testkit.verify import verify

from .harness import OTHER, TENANT, Bench, make_bench


def check(bench: Bench, **known: Any) -> None:
    verify(bench.engine.memory, bench.tables.tasks.values(), history=bench.tables.history, **known)


async def silent_worker(bench: Bench, slots: int = 5) -> Any:
    worker_id = await bench.engine.register_worker(
        TENANT, NewWorker("silent", ("flow:step",), {"default": slots}, {}, {})
    )
    return worker_id, await bench.engine.open_session(TENANT, worker_id)


async def test_session_that_dies_with_unsent_messages_gives_them_back_with_the_same_attempt() -> None:
    bench = await make_bench()
    await bench.register()
    worker_id, session = await silent_worker(bench)
    runs = [await bench.trigger() for _ in range(2)]
    assert session.waiting == 2
    session.close()
    await bench.settle()
    assert [bench.state(run) for run in runs] == [TaskState.QUEUED] * 2
    check(bench)
    again = await bench.listen(worker_id)
    assert [(action.task_id, action.attempt) for action in again.starts] == [(runs[0], 0), (runs[1], 0)]
    assert bench.row(runs[0]).status.internal_retries == 0
    check(bench)
    await bench.close()


async def test_session_that_dies_with_a_message_in_the_transport_never_sends_that_attempt_again() -> None:
    bench = await make_bench()
    await bench.register()
    worker_id, session = await silent_worker(bench)
    run = await bench.trigger()
    action: WorkerAction = await anext(session)
    assert action.attempt == 0
    session.close()
    await bench.settle()
    status = bench.row(run).status
    assert (status.attempt, status.internal_retries) == (1, 1)
    again = await bench.listen(worker_id)
    assert [action.attempt for action in again.starts] == [1]
    assert [action.attempt for action in again.cancels] == [0]
    check(bench)
    await bench.close()


async def test_session_that_dies_before_its_write_is_confirmed_leaves_a_task_that_started() -> None:
    bench = await make_bench()
    await bench.register()
    _, session = await silent_worker(bench)
    run = await bench.trigger()
    await anext(session)
    await bench.report(EventKind.STARTED, run, attempt=0)
    session.close()
    await bench.settle()
    assert (bench.state(run), bench.row(run).status.attempt) == (TaskState.ASSIGNED, 0)
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert bench.state(run) is TaskState.COMPLETED
    await bench.close()


async def test_session_that_dies_after_its_messages_were_written_leaves_the_tasks() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.STARTED, run, attempt=0)
    await worker.hang_up()
    assert bench.state(run) is TaskState.ASSIGNED
    again = await bench.listen(worker.id)
    await bench.advance(5)
    assert again.starts == []
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert bench.state(run) is TaskState.COMPLETED
    await bench.close()


async def test_task_written_to_a_session_that_died_and_never_started_gets_another_attempt() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    lost, late = await bench.trigger(), await bench.trigger()
    await worker.hang_up()
    again = await bench.listen(worker.id)
    fresh = await bench.trigger()
    await bench.advance(1.0)
    await bench.report(EventKind.STARTED, late, attempt=0)
    assert [(action.task_id, action.attempt) for action in again.starts] == [(fresh, 0)]
    await bench.advance(1.5)
    assert [(action.task_id, action.attempt) for action in again.cancels] == [(lost, 0)]
    assert [(action.task_id, action.attempt) for action in again.starts] == [(fresh, 0), (lost, 1)]
    assert (bench.row(late).status.attempt, bench.row(fresh).status.attempt) == (0, 0)
    check(bench)
    await bench.close()


async def test_task_written_to_the_older_of_two_sessions_is_settled_when_that_one_dies() -> None:
    bench = await make_bench()
    await bench.register()
    old = await bench.worker()
    await bench.listen(old.id)
    run = await bench.trigger()
    await bench.advance(3.0)
    assert bench.row(run).status.attempt == 0
    await old.hang_up()
    await bench.advance(2.5)
    assert bench.row(run).status.attempt == 1
    check(bench)
    await bench.close()


async def test_sessions_of_one_worker_the_newest_gets_the_work_and_an_older_end_changes_nothing() -> None:
    bench = await make_bench()
    await bench.register()
    old = await bench.worker()
    new = await bench.listen(old.id)
    run = await bench.trigger()
    assert [action.task_id for action in new.starts] == [run]
    await old.hang_up()
    assert bench.tables.workers[old.id].listening_since is not None
    await new.hang_up()
    assert bench.tables.workers[old.id].listening_since is None
    await bench.close()


async def test_session_of_an_unknown_worker_is_refused() -> None:
    bench = await make_bench()
    with pytest.raises(NotFound):
        await bench.engine.open_session(TENANT, UUID(int=4))
    worker = await bench.worker()
    with pytest.raises(NotFound):
        await bench.engine.open_session(OTHER, worker.id)
    await bench.close()


async def test_session_with_a_full_outbox_gets_no_more_until_it_drains() -> None:
    bench = await make_bench(outbox_limit=2)
    await bench.register()
    _, session = await silent_worker(bench)
    runs = [await bench.trigger() for _ in range(4)]
    assert session.waiting == 2
    assert bench.state(runs[2]) is TaskState.QUEUED
    for _ in range(2):
        action = await anext(session)
        session.sent(action, 0, 0, 1)
    await bench.settle()
    assert session.waiting == 2
    check(bench)
    await bench.close()


async def test_unsubscribe_ends_the_stream_and_its_tasks_stay() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.engine.unsubscribe(TENANT, worker.id)
    await bench.settle()
    assert worker.ended
    assert bench.state(run) is TaskState.ASSIGNED
    await bench.close()


async def crash_and_take_over(bench: Bench, **options: Any) -> Bench:
    """The process dies; another one takes over on the same tables."""
    bench.ledger.crash()
    await bench.engine.timers_service.stop()
    return await make_bench(bench.tables, bench.clock, seed=7, **options)


async def test_take_over_that_loses_the_lease_midway_does_not_open() -> None:
    first = await make_bench()
    await first.register()
    run = await first.trigger()
    await first.close()
    second = await make_bench(first.tables, first.clock, start=False, seed=3)
    load = second.ledger.load_live_tasks

    async def lose_meanwhile(partition: int | None = None) -> Any:
        second.ledger.load_live_tasks = load  # type: ignore[method-assign]
        async for page in load(partition):
            second.ledger.lose()
            yield page

    second.ledger.load_live_tasks = lose_meanwhile  # type: ignore[method-assign]
    second.engine.start()
    await second.engine.until_ready()
    await second.settle()
    # It opened once, for the lease that it had the second time.
    assert second.engine.ownership.leases[0].epoch == first.tables.epoch
    assert second.engine._gate.generation_of(TENANT) == 1
    assert set(second.engine.memory.tasks) == {run}
    check(second)
    await second.close()


async def test_take_over_a_task_that_was_started_stays_with_its_worker() -> None:
    first = await make_bench()
    await first.register()
    worker = await first.worker()
    run = await first.trigger()
    await first.report(EventKind.STARTED, run, attempt=0)
    second = await crash_and_take_over(first)
    with pytest.raises(FailedPrecondition):
        await second.engine.heartbeat(TENANT, worker.id)
    again = await second.listen(worker.id)
    await second.advance(5)
    assert again.actions == []
    await second.report(EventKind.COMPLETED, run, b'"ok"', attempt=0)
    assert second.row(run).status.output == b'"ok"'
    check(second, acknowledged=[run])
    await second.close()


async def test_take_over_a_task_in_doubt_is_cancelled_and_runs_under_a_new_attempt() -> None:
    first = await make_bench()
    await first.register()
    worker = await first.worker()
    run = await first.trigger()
    second = await crash_and_take_over(first)
    await second.advance(3)
    assert second.row(run).status.attempt == 0
    again = await second.listen(worker.id)
    await second.advance(1.9, 0.1)
    assert again.actions == []
    await second.advance(0.2, 0.1)
    assert [action.attempt for action in again.cancels] == [0]
    assert [action.attempt for action in again.starts] == [1]
    check(second, acknowledged=[run])
    await second.close()


async def test_take_over_a_task_in_doubt_that_reports_in_time_goes_on() -> None:
    first = await make_bench()
    await first.register()
    worker = await first.worker()
    runs = [await first.trigger() for _ in range(2)]
    second = await crash_and_take_over(first)
    again = await second.listen(worker.id)
    await second.report(EventKind.STARTED, runs[0], attempt=0)
    await second.report(EventKind.COMPLETED, runs[1], b"1", attempt=0)
    await second.advance(4, 0.5)
    assert again.actions == []
    assert second.row(runs[0]).status.attempt == 0
    assert second.state(runs[1]) is TaskState.COMPLETED
    await second.close()


async def test_take_over_of_a_worker_that_never_returns_gives_its_tasks_to_others_after_thirty_seconds() -> (
    None
):
    first = await make_bench()
    await first.register(step={"timeout": 600.0})
    await first.worker()
    run = await first.trigger()
    first.clock.advance(100)
    second = await crash_and_take_over(first)
    await second.advance(29)
    assert second.row(run).status.attempt == 0
    other = await second.worker()
    await second.advance(1.5)
    assert [(action.task_id, action.attempt) for action in other.starts] == [(run, 1)]
    check(second)
    await second.close()


async def test_take_over_keeps_queues_in_order_and_due_times() -> None:
    first = await make_bench()
    await first.register(step={"retries": 1, "schedule_timeout": 60.0})
    low = await first.trigger(priority=1)
    high = await first.trigger(priority=3)
    low2 = await first.trigger(priority=1)
    second = await crash_and_take_over(first)
    check(second, acknowledged=[low, high, low2])
    worker = await second.worker()
    assert [action.task_id for action in worker.starts] == [high, low, low2]
    await second.close()


async def test_lease_lost_drops_memory_keeps_streams_and_takes_over_again() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    held = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.STARTED, run, 0, b""), Origin())
    )
    await asyncio.sleep(0)
    bench.ledger.lose()
    assert bench.engine.memory.tasks == {}
    # Whoever schedules now, calls are served: on the rows.
    other = await bench.trigger()
    assert bench.engine.ready
    assert not worker.ended
    # The report that was held is judged anew.
    await bench.advance(0.1, 0.1)
    await held
    assert bench.row(run).status.started_at is not None
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert bench.state(run) is TaskState.COMPLETED
    await bench.advance(3)
    assert [action.task_id for action in worker.starts] == [run, other]
    check(bench)
    await bench.close()


async def test_lease_lost_while_a_trigger_commits_it_is_made_without_the_lease() -> None:
    bench = await make_bench()
    await bench.register()
    bench.ledger.hold = True
    call = asyncio.ensure_future(bench.trigger())
    await bench.settle()
    bench.ledger.lose()
    bench.ledger.release()
    run = await call
    assert list(bench.tables.tasks) == [run]
    assert bench.state(run) is TaskState.QUEUED
    await bench.settle()
    check(bench)
    await bench.close()


async def test_standby_waits_for_the_lease_and_takes_over_after_a_drain() -> None:
    first = await make_bench()
    await first.register()
    worker = await first.worker(slots=1)
    sent = await first.trigger()
    _, session = await silent_worker(first, slots=1)
    unsent = await first.trigger()
    assert session.waiting == 1
    second = await make_bench(first.tables, first.clock, start=False, seed=5)
    second.engine.start()
    await second.settle()
    assert not second.engine.ready
    await first.engine.drain()
    assert worker.ended
    with pytest.raises(Unavailable):
        await first.trigger()
    with pytest.raises(Unavailable):
        await first.engine.open_session(TENANT, worker.id)
    # Events are taken until the end.
    await first.report(EventKind.COMPLETED, sent, b"1", attempt=0)
    assert first.state(unsent) is TaskState.QUEUED
    await first.engine.stop()
    await second.settle()
    assert second.engine.ready
    again = await second.listen(worker.id)
    assert [(action.task_id, action.attempt) for action in again.starts] == [(unsent, 0)]
    check(second, acknowledged=[sent, unsent])
    await second.close()


async def test_report_while_nobody_schedules_is_held_and_then_refused_but_never_unavailable() -> None:
    bench = await make_bench(start=False)
    bench.engine.timers_service.start()
    event = WorkerEvent(EventKind.COMPLETED, UUID(int=1), 0, b"1")
    call = asyncio.ensure_future(bench.engine.worker_event(TENANT, event, Origin()))
    await bench.settle()
    await bench.advance(299, 50)
    assert not call.done()
    await bench.advance(2)
    with pytest.raises(ResourceExhausted):
        await call
    await bench.engine.stop()


async def test_large_input_is_dropped_from_memory_and_read_again_for_its_send() -> None:
    bench = await make_bench(kept_input=100)
    await bench.register()
    run = await bench.trigger({"text": "x" * 500})
    live = bench.engine.memory.tasks[run]
    assert live.input is None
    assert live.facts.input == b""
    worker = await bench.worker()
    assert b"x" * 500 in worker.starts[0].payload
    check_rows = bench.row(run).facts.input
    assert len(check_rows) > 500
    await bench.close()


async def test_row_changed_by_somebody_else_is_read_again() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker(slots=1)
    run, waiting = await bench.trigger(), await bench.trigger()
    row = bench.row(run)
    from dataclasses import replace

    from broadaxe.store.ledger import StoredTask

    ended = replace(row.status, state=TaskState.CANCELLED, finished_at=bench.clock.now())
    bench.tables.tasks[run] = StoredTask(row.facts, ended)
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert bench.state(run) is TaskState.CANCELLED
    assert worker.starts[-1].task_id == waiting
    check(bench)
    await bench.close()
