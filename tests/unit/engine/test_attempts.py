"""Failures, retries, time-outs, cancels and replays, each through to the rows."""

import asyncio
from uuid import UUID

import pytest

from broadaxe.domain.errors import InvalidArgument, NotFound
from broadaxe.domain.task import TaskFilter, TaskState
from broadaxe.engine.api import EventKind, Origin, WorkerEvent
from broadaxe.store.ledger import NewTask, StoreError, TaskWrite

from .harness import OTHER, TENANT, make_bench


async def test_failure_with_retries_left_waits_for_the_back_off() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 2, "backoff_factor": 3.0})
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.FAILED, run, b"boom", attempt=0)
    assert bench.state(run) is TaskState.DELAYED
    await bench.engine.heartbeat(TENANT, worker.id)
    await bench.advance(2.5, 0.5)
    assert len(worker.starts) == 1
    await bench.advance(1.0, 0.5)
    assert [action.attempt for action in worker.starts] == [0, 1]
    await bench.report(EventKind.FAILED, run, b"boom", attempt=1)
    await bench.advance(8.5, 0.5)
    await bench.engine.heartbeat(TENANT, worker.id)
    await bench.advance(1, 0.5)
    await bench.report(EventKind.FAILED, run, b"last", attempt=2)
    assert bench.state(run) is TaskState.FAILED
    assert bench.row(run).status.error == b"last"
    assert [record.error for record in bench.tables.attempts[run]] == [b"boom", b"boom"]
    await bench.close()


async def test_failure_that_must_not_be_retried_is_final() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 5})
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.FAILED, run, b"no", attempt=0, should_not_retry=True)
    assert bench.state(run) is TaskState.FAILED
    await bench.close()


async def test_failure_with_retry_after_waits_that_long() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 1})
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.FAILED, run, b"no", attempt=0, retry_after=2.0)
    await bench.advance(1.9, 0.1)
    assert len(worker.starts) == 1
    await bench.advance(0.2, 0.1)
    assert len(worker.starts) == 2
    await bench.close()


async def test_execution_time_out_fails_the_attempt_and_tells_the_worker() -> None:
    bench = await make_bench()
    await bench.register(step={"timeout": 3.0, "retries": 1})
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.advance(3.1, 0.5)
    assert [action.attempt for action in worker.cancels] == [0]
    assert [action.attempt for action in worker.starts] == [0, 1]
    await bench.engine.heartbeat(TENANT, worker.id)
    await bench.advance(3.5, 0.5)
    status = bench.row(run).status
    assert status.state is TaskState.FAILED
    assert status.error == b"Task exceeded timeout of 3s"
    await bench.close()


async def test_execution_time_out_is_moved_by_a_refresh() -> None:
    bench = await make_bench()
    await bench.register(step={"timeout": 3.0})
    await bench.worker()
    run = await bench.trigger()
    assigned = bench.row(run).status.assigned_at
    assert assigned is not None
    deadline = await bench.engine.refresh_timeout(TENANT, run, 10.0)
    assert (deadline - assigned).total_seconds() == 13
    await bench.advance(12.5)
    assert bench.state(run) is TaskState.ASSIGNED
    await bench.advance(1)
    assert bench.state(run) is TaskState.FAILED
    with pytest.raises(NotFound):
        await bench.engine.refresh_timeout(TENANT, run, 1.0)
    await bench.close()


async def test_schedule_time_out_cancels_a_task_that_found_no_worker() -> None:
    bench = await make_bench()
    await bench.register(step={"schedule_timeout": 5.0})
    run = await bench.trigger()
    await bench.advance(4.9)
    assert bench.state(run) is TaskState.QUEUED
    await bench.advance(0.2)
    assert bench.state(run) is TaskState.CANCELLED
    assert bench.count("hatchet.tasks.scheduling_timed_out") == 1
    worker = await bench.worker()
    assert worker.starts == []
    await bench.close()


async def test_cancel_of_a_queued_task_ends_it() -> None:
    bench = await make_bench()
    await bench.register()
    run = await bench.trigger()
    call = asyncio.ensure_future(bench.engine.cancel(TENANT, [run], None, Origin()))
    await bench.settle()
    assert await call == [run]
    assert bench.state(run) is TaskState.CANCELLED
    assert (await bench.worker()).starts == []
    await bench.close()


async def test_cancel_of_a_delayed_task_ends_it() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 1})
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.FAILED, run, b"no", attempt=0, retry_after=2.0)
    assert await bench.engine.cancel(TENANT, [run], None, Origin()) == [run]
    await bench.advance(3)
    assert bench.state(run) is TaskState.CANCELLED
    assert len(worker.starts) == 1
    await bench.close()


async def test_cancel_of_a_running_task_is_committed_first_and_its_result_is_dropped() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    assert await bench.engine.cancel(TENANT, [run], None, Origin()) == [run]
    await bench.settle()
    assert [(action.task_id, action.attempt) for action in worker.cancels] == [(run, 0)]
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert bench.state(run) is TaskState.CANCELLED
    assert await bench.engine.cancel(TENANT, [run], None, Origin()) == []
    await bench.close()


async def test_cancel_while_the_result_is_being_written_comes_too_late() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    bench.ledger.hold = True
    done = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.COMPLETED, run, 0, b"1"), Origin())
    )
    await bench.settle()
    cancelled = asyncio.ensure_future(bench.engine.cancel(TENANT, [run], None, Origin()))
    await bench.settle()
    assert not done.done()
    assert not cancelled.done()
    bench.ledger.release()
    await done
    assert await cancelled == []
    assert bench.state(run) is TaskState.COMPLETED
    await bench.close()


async def test_cancel_before_the_start_was_taken_by_the_transport_sends_nothing() -> None:
    bench = await make_bench()
    await bench.register()
    from broadaxe.engine.api import NewWorker

    worker_id = await bench.engine.register_worker(
        TENANT, NewWorker("w", ("flow:step",), {"default": 5}, {}, {})
    )
    session = await bench.engine.open_session(TENANT, worker_id)
    run = await bench.trigger()
    assert session.waiting == 1
    await bench.engine.cancel(TENANT, [run], None, Origin())
    await bench.settle()
    assert session.waiting == 0
    await bench.close()


async def test_cancel_reported_by_the_worker_ends_the_task() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.CANCELLED, run, attempt=0)
    assert bench.state(run) is TaskState.CANCELLED
    await bench.close()


async def test_cancel_by_filter_takes_what_is_not_final() -> None:
    bench = await make_bench()
    await bench.register()
    since = bench.clock.now()
    runs = [await bench.trigger(metadata=b'{"k":"v"}') for _ in range(3)]
    await bench.trigger(metadata=b'{"k":"w"}')
    found = await bench.engine.cancel(TENANT, [], TaskFilter(since, metadata=(("k", "v"),)), Origin())
    assert sorted(found) == sorted(runs)
    with pytest.raises(InvalidArgument):
        await bench.engine.cancel(TENANT, runs, TaskFilter(since), Origin())
    await bench.close()


async def test_replay_runs_a_final_task_again_and_leaves_others_out() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run, other = await bench.trigger({"a": 1}), await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b'"first"', attempt=0)
    assert await bench.engine.replay(TENANT, [run, other], None, Origin()) == [run]
    await bench.settle()
    assert [(action.task_id, action.attempt) for action in worker.starts][-1] == (run, 1)
    assert b'"a": 1' in worker.starts[-1].payload
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run)
    await bench.report(EventKind.COMPLETED, run, b'"second"', attempt=1)
    finished = await anext(aiter(subscription))
    assert finished.results[0].output == b'"second"'
    await bench.close()


async def test_replay_asked_for_twice_at_once_happens_once() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    calls = [asyncio.ensure_future(bench.engine.replay(TENANT, [run], None, Origin())) for _ in range(2)]
    await bench.settle()
    assert sorted(len(call.result()) for call in calls) == [0, 1]
    assert [action.attempt for action in worker.starts] == [0, 1]
    await bench.close()


@pytest.mark.parametrize(
    ("payload", "text"),
    [(b"{", b"invalid JSON"), (b'"a\\u0000b"', b"U+0000"), (b"\xff", b"UTF-8")],
)
async def test_output_that_is_not_valid_becomes_a_failure(payload: bytes, text: bytes) -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, payload, attempt=0)
    status = bench.row(run).status
    assert status.state is TaskState.FAILED
    assert text in (status.error or b"")
    await bench.close()


async def test_output_may_be_empty() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b"", attempt=None)
    assert bench.state(run) is TaskState.COMPLETED
    assert bench.row(run).status.output is None
    await bench.close()


async def test_output_the_database_refuses_ends_the_task_with_the_reason() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker(slots=1)
    run, waiting = await bench.trigger(), await bench.trigger()

    def refuse(item: object) -> BaseException | None:
        if isinstance(item, TaskWrite) and item.status.state is TaskState.COMPLETED:
            return StoreError("type bytea")
        return None

    bench.ledger.refuse = refuse
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert bench.state(run) is TaskState.FAILED
    assert b"type bytea" in (bench.row(run).status.error or b"")
    assert worker.starts[-1].task_id == waiting
    await bench.close()


async def test_assignment_the_database_refuses_is_tried_again_after_a_pause() -> None:
    bench = await make_bench()
    await bench.register()
    run = await bench.trigger()
    bench.ledger.refuse = lambda item: StoreError("no") if isinstance(item, TaskWrite) else None
    worker = await bench.worker()
    assert worker.starts == []
    assert bench.engine.memory.workers[worker.id].held == {}
    bench.ledger.refuse = lambda item: None
    await bench.advance(1.1)
    assert [action.task_id for action in worker.starts] == [run]
    await bench.close()


async def test_creation_the_database_refuses_frees_the_slot_and_tells_the_caller() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    bench.ledger.refuse = lambda item: StoreError("no") if isinstance(item, NewTask) else None
    with pytest.raises(StoreError):
        await bench.trigger()
    assert bench.engine.memory.workers[worker.id].held == {}
    assert worker.starts == []
    await bench.close()


async def test_report_about_an_unknown_task_is_invalid_and_a_foreign_one_too() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    with pytest.raises(InvalidArgument):
        await bench.report(EventKind.COMPLETED, UUID(int=5), b"1")
    with pytest.raises(InvalidArgument):
        await bench.engine.worker_event(OTHER, WorkerEvent(EventKind.COMPLETED, run, 0, b"1"), Origin())
    assert bench.state(run) is TaskState.ASSIGNED
    await bench.close()


async def test_report_of_a_second_result_is_answered_and_dropped() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    await bench.report(EventKind.COMPLETED, run, b"2", attempt=0)
    await bench.report(EventKind.FAILED, run, b"x", attempt=0)
    assert bench.row(run).status.output == b"1"
    assert bench.count("hatchet.results.stale") == 2
    await bench.close()


async def test_start_alone_is_committed_after_the_hold() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    call = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.STARTED, run, 0, b""), Origin())
    )
    await bench.settle()
    assert not call.done()
    await bench.advance(0.051, 0.051)
    await call
    assert bench.row(run).status.started_at is not None
    await bench.close()


async def test_start_rides_on_the_commit_of_another_task() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    commits = bench.ledger.commits
    call = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.STARTED, run, 0, b""), Origin())
    )
    await bench.settle()
    await bench.trigger()
    await call
    assert bench.row(run).status.started_at is not None
    assert bench.ledger.commits == commits + 1
    await bench.close()
