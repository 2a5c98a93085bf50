"""Two engines on the same rows: calls reach the one that does not schedule."""

import asyncio
from uuid import UUID

import pytest

from broadaxe.domain.errors import NotFound, ResourceExhausted
from broadaxe.domain.ids import EngineId
from broadaxe.domain.task import TaskState
from broadaxe.engine.api import EventKind, NewLogLine, NewUserEvent, Origin, Trigger
from broadaxe.engine.ingest import log_lines
from broadaxe.testkit.verify import verify
from tests.unit.engine.dags import event, make_dag, step
from tests.unit.engine.harness import OTHER, TENANT, Bench, make_bench


async def two(**options: object) -> tuple[Bench, Bench]:
    """The owner, and another one that has seen it."""
    owner = await make_bench(**options)
    other = await make_bench(
        owner.tables, owner.clock, start=False, seed=7, engine_id=EngineId(UUID(int=10)), **options
    )
    other.engine.start()
    await both(owner, other, 1.1)
    assert other.engine.ready
    assert not other.engine.memory.tasks
    await owner.register()
    await both(owner, other, 1.1)
    return owner, other


async def both(owner: Bench, other: Bench, seconds: float, step: float = 0.5) -> None:
    """Let time pass for both; they share a clock."""
    left = seconds
    while left > 1e-9:
        owner.clock.advance(min(step, left))
        left -= step
        for bench in (owner, other):
            bench.engine.timers_service.fire()
        await owner.settle(60)


async def end(owner: Bench, other: Bench) -> None:
    await both(owner, other, 1.1)
    verify(owner.engine.memory, owner.tables.tasks.values(), history=owner.tables.history)
    await other.close()
    await owner.close()


async def test_trigger_elsewhere_is_queued_and_run_by_the_owner() -> None:
    owner, other = await two()
    worker = await owner.worker()
    run = await other.trigger()
    assert owner.tables.history[0][1] is TaskState.QUEUED
    await owner.settle(60)
    assert [action.task_id for action in worker.starts] == [run]
    results = other.engine.subscribe_runs(TENANT, Origin())
    results.add(run)
    await both(owner, other, 0.1)
    await owner.report(EventKind.COMPLETED, run, b'{"a":1}', attempt=0)
    told = await asyncio.wait_for(anext(aiter(results)), 1)
    assert told.results[0].output == b'{"a":1}'
    await end(owner, other)


async def test_worker_elsewhere_is_sent_to_and_its_reports_reach_the_owner() -> None:
    owner, other = await two()
    worker = await other.worker(slots=1)
    await both(owner, other, 0.2)
    first, second = await owner.trigger(), await owner.trigger()
    await both(owner, other, 0.2)
    assert [action.task_id for action in worker.starts] == [first], "one slot"
    assert owner.state(first) is TaskState.ASSIGNED
    started = asyncio.ensure_future(other.report(EventKind.STARTED, first, attempt=0))
    await both(owner, other, 0.2)
    await started
    assert owner.engine.memory.tasks[first].status.started_at is not None
    await other.report(EventKind.COMPLETED, first, b"1", attempt=0)
    await both(owner, other, 0.2)
    assert [action.task_id for action in worker.starts] == [first, second]
    assert await owner.engine.cancel(TENANT, [second], None, Origin()) == [second]
    await both(owner, other, 0.2)
    assert [action.task_id for action in worker.cancels] == [second]
    await end(owner, other)


async def test_session_elsewhere_ends_what_was_not_sent_goes_back_with_its_number() -> None:
    owner, other = await two()
    worker = await other.worker(slots=5)
    worker.mute = True
    await both(owner, other, 0.2)
    runs = [await owner.trigger() for _ in range(3)]
    await both(owner, other, 0.2)
    assert len(worker.actions) == 1, "the transport hangs with the first"
    await worker.hang_up()
    await both(owner, other, 0.5)
    rows = {run: owner.row(run).status for run in runs}
    assert [rows[run].attempt for run in runs] == [1, 0, 0]
    assert all(status.state is TaskState.QUEUED for status in rows.values())
    again = await other.listen(worker.id)
    await both(owner, other, 0.5)
    assert {(action.task_id, action.attempt) for action in again.starts} == {
        (run, rows[run].attempt) for run in runs
    }
    await end(owner, other)


async def test_silent_worker_elsewhere_gets_nothing_until_it_beats_again() -> None:
    owner, other = await two()
    worker = await other.worker()
    await both(owner, other, 6.0)
    run = await owner.trigger()
    await both(owner, other, 1.0)
    assert worker.starts == []
    await other.engine.heartbeat(TENANT, worker.id)
    await both(owner, other, 0.5)
    assert [action.task_id for action in worker.starts] == [run]
    await end(owner, other)


async def test_heartbeat_at_the_owner_is_passed_on_to_the_engine_of_the_stream() -> None:
    owner, other = await two()
    worker = await other.worker()
    for _ in range(4):
        await both(owner, other, 2.0)
        await owner.engine.heartbeat(TENANT, worker.id)
    await both(owner, other, 1.0)
    run = await owner.trigger()
    await both(owner, other, 0.5)
    assert [action.task_id for action in worker.starts] == [run]
    await end(owner, other)


async def test_dead_workers_tasks_elsewhere_are_given_anew() -> None:
    owner, other = await two()
    worker = await other.worker()
    run = await owner.trigger()
    await both(owner, other, 0.2)
    started = asyncio.ensure_future(other.report(EventKind.STARTED, run, attempt=0))
    await both(owner, other, 40.0, 1.0)
    await started
    assert owner.row(run).status.attempt == 1
    assert worker.ended, "its stream is ended at its engine"
    await end(owner, other)


async def test_replay_cancel_refresh_and_release_elsewhere() -> None:
    owner, other = await two()
    await owner.worker(slots=1)
    run = await owner.trigger()
    before = owner.row(run).status.timeout_at
    deadline = await other.engine.refresh_timeout(TENANT, run, 30)
    assert before is not None
    assert (deadline - before).total_seconds() == 30
    await other.engine.release_slot(TENANT, run)
    await both(owner, other, 0.2)
    live = owner.engine.memory.tasks[run]
    assert live.status.slot_released
    assert live.status.timeout_at == deadline
    waiting = await owner.trigger()
    await owner.report(EventKind.COMPLETED, run, b"1", attempt=0)
    assert await other.engine.cancel(TENANT, [run, waiting], None, Origin()) == [waiting]
    assert await other.engine.replay(TENANT, [run, waiting], None, Origin()) == [run, waiting]
    with pytest.raises(NotFound):
        await other.engine.refresh_timeout(TENANT, UUID(int=77), 1)
    await both(owner, other, 0.2)
    assert owner.row(run).status.attempt == 1
    await end(owner, other)


async def test_owner_gone_the_other_takes_over_with_its_streams_open() -> None:
    owner, other = await two()
    worker = await other.worker()
    run = await owner.trigger()
    await both(owner, other, 0.2)
    assert len(worker.starts) == 1
    owner.ledger.crash()
    await other.settle(60)
    await other.advance(0.5)
    assert other.engine.memory.tasks.keys() == {run}
    after = await other.trigger()
    assert [action.task_id for action in worker.starts] == [run, after]
    assert not worker.ended
    await other.report(EventKind.COMPLETED, run, b"1", attempt=0)
    await other.report(EventKind.COMPLETED, after, b"1", attempt=0)
    verify(other.engine.memory, other.tables.tasks.values(), history=other.tables.history)
    await other.close()


async def test_full_queue_refuses_triggers_at_the_other_engine_until_it_has_room() -> None:
    owner, other = await two(queue_limit=3)
    for bench in (owner, other, other):
        await bench.trigger()
        await both(owner, other, 0.1)
    for bench in (owner, other):
        with pytest.raises(ResourceExhausted, match="flow:step"):
            await bench.trigger()
    assert len(owner.tables.tasks) == 3, "nothing half made"
    await owner.worker(slots=1)
    await both(owner, other, 0.1)
    await other.trigger()
    await both(owner, other, 0.1)
    with pytest.raises(ResourceExhausted):
        await other.trigger()
    await end(owner, other)


async def test_more_than_a_queue_can_ever_hold_is_refused_at_the_other_engine() -> None:
    owner, other = await two(queue_limit=2)
    with pytest.raises(ResourceExhausted):
        await other.engine.trigger_many(TENANT, [Trigger(workflow="flow", input=b"{}")] * 3, Origin())
    assert not owner.tables.tasks
    await end(owner, other)


async def test_engine_that_comes_later_is_told_of_a_full_queue_with_its_first_trigger() -> None:
    owner, other = await two(queue_limit=1)
    await owner.trigger()
    await both(owner, other, 1.1)
    other.engine._neighbours.depths.moved()  # as one that was not told
    await other.trigger()
    await both(owner, other, 0.1)
    with pytest.raises(ResourceExhausted):
        await other.trigger()
    await both(owner, other, 31.0)
    await other.trigger()
    await end(owner, other)


async def test_queue_near_its_limit_is_not_told_of_with_every_task() -> None:
    owner, other = await two(queue_limit=200)
    run = [await owner.trigger() for _ in range(200)][-1]
    await both(owner, other, 1.1)
    assert other.count("hatchet.bus.messages", "queue_full") == 1
    for _ in range(5):
        await owner.engine.cancel(TENANT, [run], None, Origin())
        run = await owner.trigger()
    await both(owner, other, 0.1)
    assert other.count("hatchet.bus.messages", "queue_full") == 2, "a second has passed, it is told once more"
    await end(owner, other)


async def test_log_lines_elsewhere_are_kept_with_the_attempt_that_runs_and_look_a_task_up_once() -> None:
    owner, other = await two()
    await owner.worker()
    run = await owner.trigger()
    before, at = other.ledger.reads, other.clock.now()
    for attempt in (0, 0, 1):
        await other.engine.put_log(TENANT, NewLogLine(run, at, None, "a line", b"", attempt))
    assert other.ledger.reads == before + 1
    await owner.report(EventKind.FAILED, run, b"broken", attempt=0, should_not_retry=True)
    assert await owner.engine.replay(TENANT, [run], None, Origin()) == [run]
    await other.engine.put_log(TENANT, NewLogLine(run, at, None, "again"))
    assert [line.attempt for line in owner.tables.logs] == [0, 0, 1, owner.row(run).status.attempt]
    for tenant_id, task_id in ((TENANT, UUID(int=77)), (OTHER, run)):
        for _ in range(2):
            with pytest.raises(NotFound):
                await other.engine.put_log(tenant_id, NewLogLine(task_id, at, None, "lost", b"", 0))
    assert len(owner.tables.logs) == 4
    await end(owner, other)


async def test_tasks_remembered_for_their_log_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "_KNOWN", 2)
    owner, other = await two()
    runs = [await owner.trigger() for _ in range(3)]

    async def reads(run: UUID) -> int:
        before = other.ledger.reads
        await other.engine.put_log(TENANT, NewLogLine(run, other.clock.now(), None, "a line", b"", 0))
        return other.ledger.reads - before

    assert [await reads(runs[n]) for n in (0, 1, 0, 2, 0, 1)] == [1, 1, 0, 1, 0, 1], "the oldest is forgotten"
    await end(owner, other)


async def test_event_that_is_pushed_elsewhere_meets_a_wait_of_the_owner() -> None:
    owner, other = await two(fresh=10_000.0, dead_after=10_000.0)
    dag = await make_dag(owner, step("one"), step("two", "one", conditions=(event("paid"),)))
    await dag.start()
    await dag.complete("one")
    await other.engine.push_event(TENANT, NewUserEvent("paid", b'{"amount":7}'), Origin())
    await both(owner, other, 0.1)
    assert dag.started() == ["one", "two"]
    await dag.complete("two")
    await end(owner, other)
