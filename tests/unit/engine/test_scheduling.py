"""Who gets a worker, in which order, and who does not."""

from uuid import UUID

import pytest

from broadaxe.domain.errors import FailedPrecondition, NotFound
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import LabelRequest, LabelValue
from broadaxe.engine.api import EventKind

from .harness import OTHER, TENANT, make_bench


async def test_queue_first_come_is_first_served() -> None:
    bench = await make_bench()
    await bench.register()
    runs = [await bench.trigger() for _ in range(5)]
    worker = await bench.worker(slots=2)
    assert [action.task_id for action in worker.starts] == runs[:2]
    await bench.report(EventKind.COMPLETED, runs[0])
    await bench.report(EventKind.COMPLETED, runs[1])
    await bench.report(EventKind.COMPLETED, runs[2])
    assert [action.task_id for action in worker.starts] == runs
    await bench.close()


async def test_queue_higher_priority_goes_first_and_falls_back_to_the_workflow() -> None:
    bench = await make_bench()
    await bench.register(default_priority=2)
    low = await bench.trigger(priority=1)
    middle = await bench.trigger()
    high = await bench.trigger(priority=3)
    assert bench.row(middle).facts.priority == 2
    worker = await bench.worker(slots=10)
    assert [action.task_id for action in worker.starts] == [high, middle, low]
    await bench.close()


async def test_queue_retry_goes_before_new_tasks_of_the_same_priority() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 1})
    worker = await bench.worker(slots=1)
    first = await bench.trigger()
    second = await bench.trigger()
    await bench.report(EventKind.FAILED, first, b"no", attempt=0)
    assert [(action.task_id, action.attempt) for action in worker.starts] == [(first, 0), (first, 1)]
    await bench.report(EventKind.COMPLETED, first, attempt=1)
    assert worker.starts[-1].task_id == second
    await bench.close()


async def test_trigger_behind_waiting_tasks_is_not_born_assigned() -> None:
    bench = await make_bench()
    await bench.register()
    first = await bench.trigger()
    bench.ledger.hold = True
    worker_id = await bench.engine.register_worker(TENANT, _new_worker())
    worker = await bench.listen(worker_id)
    second = bench.trigger()
    import asyncio

    waiting = asyncio.ensure_future(second)
    await bench.settle()
    bench.ledger.release()
    await bench.settle()
    await waiting
    assert worker.starts[0].task_id == first
    await bench.close()


def _new_worker():  # type: ignore[no-untyped-def]
    from broadaxe.engine.api import NewWorker

    return NewWorker("w", ("flow:step",), {"default": 5}, {}, {})


async def test_slots_of_several_kinds_must_all_be_free() -> None:
    bench = await make_bench()
    await bench.register(step={"slots": {"default": 2, "gpu": 1}})
    worker = await bench.worker(units={"default": 10, "gpu": 1})
    first, second = await bench.trigger(), await bench.trigger()
    assert [action.task_id for action in worker.starts] == [first]
    assert bench.engine.memory.workers[worker.id].free_units() == {"default": 8, "gpu": 0}
    await bench.report(EventKind.COMPLETED, first)
    assert [action.task_id for action in worker.starts] == [first, second]
    await bench.close()


async def test_slot_release_frees_the_slot_and_worker_death_leaves_the_task() -> None:
    bench = await make_bench()
    await bench.register(step={"timeout": 600.0})
    worker = await bench.worker(slots=1)
    first, second = await bench.trigger(), await bench.trigger()
    await bench.engine.release_slot(TENANT, first)
    await bench.settle()
    assert [action.task_id for action in worker.starts] == [first, second]
    await bench.advance(31)
    assert bench.row(first).status.attempt == 0
    assert bench.row(second).status.attempt == 1
    await bench.report(EventKind.COMPLETED, first, b"1", attempt=0)
    assert bench.state(first) is TaskState.COMPLETED
    await bench.close()


async def test_workers_take_turns() -> None:
    bench = await make_bench()
    await bench.register()
    one, two = await bench.worker(), await bench.worker()
    for _ in range(6):
        await bench.trigger()
    assert (len(one.starts), len(two.starts)) == (3, 3)
    await bench.close()


async def test_labels_required_and_unmet_wait_while_others_pass() -> None:
    bench = await make_bench()
    await bench.register()
    wish = (LabelRequest("zone", text="b", required=True),)
    worker = await bench.worker(labels={"zone": LabelValue(text="a")})
    blocked = await bench.trigger(desired_labels=wish)
    free = await bench.trigger()
    assert [action.task_id for action in worker.starts] == [free]
    await bench.engine.upsert_labels(TENANT, worker.id, {"zone": LabelValue(text="b")})
    await bench.settle()
    assert [action.task_id for action in worker.starts] == [free, blocked]
    await bench.close()


async def test_labels_of_higher_weight_win() -> None:
    bench = await make_bench()
    wish = (LabelRequest("zone", text="b", weight=10),)
    await bench.register(step={"labels": wish})
    plain = await bench.worker(labels={"zone": LabelValue(text="a")})
    liked = await bench.worker(labels={"zone": LabelValue(text="b")})
    for _ in range(3):
        await bench.trigger()
    assert (len(plain.starts), len(liked.starts)) == (0, 3)
    await bench.close()


async def test_desired_worker_is_preferred() -> None:
    bench = await make_bench()
    await bench.register()
    one, two = await bench.worker(), await bench.worker()
    for _ in range(3):
        await bench.trigger(desired_worker_id=two.id)
    assert (len(one.starts), len(two.starts)) == (0, 3)
    await bench.close()


async def test_worker_paused_elsewhere_gets_nothing_until_resumed() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    await bench.ledger.set_paused(TENANT, bench.tables.workers[worker.id].id, True)
    await bench.engine.worker_changed(TENANT, worker.id)
    run = await bench.trigger()
    assert worker.starts == []
    await bench.ledger.set_paused(TENANT, bench.tables.workers[worker.id].id, False)
    await bench.engine.worker_changed(TENANT, worker.id)
    await bench.settle()
    assert [action.task_id for action in worker.starts] == [run]
    await bench.close()


async def test_worker_silent_for_five_seconds_gets_work_again_with_its_heartbeat() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    await bench.advance(6)
    run = await bench.trigger()
    assert worker.starts == []
    await bench.engine.heartbeat(TENANT, worker.id)
    await bench.settle()
    assert [action.task_id for action in worker.starts] == [run]
    await bench.close()


async def test_worker_without_heartbeat_for_thirty_seconds_loses_its_tasks() -> None:
    bench = await make_bench()
    await bench.register(step={"timeout": 600.0})
    dead = await bench.worker(name="dead")
    run = await bench.trigger()
    await bench.report(EventKind.STARTED, run, attempt=0)
    await bench.advance(29)
    assert bench.row(run).status.attempt == 0
    alive = await bench.worker()
    await bench.advance(1.5)
    status = bench.row(run).status
    assert (status.attempt, status.internal_retries, status.app_retries) == (1, 1, 0)
    assert [(action.task_id, action.attempt) for action in alive.starts] == [(run, 1)]
    assert dead.ended
    # The dead one comes back with its result: answered, dropped, counted.
    await bench.report(EventKind.COMPLETED, run, b'"late"', attempt=0)
    assert bench.state(run) is TaskState.ASSIGNED
    assert bench.count("hatchet.results.stale") == 1
    assert bench.count("hatchet.tasks.reassigned") == 1
    await bench.report(EventKind.COMPLETED, run, b'"good"', attempt=1)
    assert bench.row(run).status.output == b'"good"'
    await bench.close()


async def test_internal_retries_run_out_and_the_task_fails() -> None:
    bench = await make_bench(max_internal_retries=1)
    await bench.register(step={"timeout": 900.0})
    await bench.worker()
    run = await bench.trigger()
    await bench.advance(31)
    assert bench.row(run).status.attempt == 1
    await bench.worker()
    await bench.advance(31)
    status = bench.row(run).status
    assert status.state is TaskState.FAILED
    assert b"reassignment" in (status.error or b"")
    await bench.close()


async def test_heartbeat_of_a_worker_whose_stream_is_gone_is_refused() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    await bench.engine.heartbeat(TENANT, worker.id)
    await worker.hang_up()
    with pytest.raises(FailedPrecondition):
        await bench.engine.heartbeat(TENANT, worker.id)
    with pytest.raises(NotFound):
        await bench.engine.heartbeat(OTHER, worker.id)
    with pytest.raises(NotFound):
        await bench.engine.heartbeat(TENANT, UUID(int=77))
    await bench.close()


async def test_heartbeat_of_a_worker_that_never_listened_is_fine() -> None:
    bench = await make_bench()
    worker_id = await bench.engine.register_worker(TENANT, _new_worker())
    await bench.engine.heartbeat(TENANT, worker_id)
    await bench.close()


async def test_heartbeats_are_written_in_one_go_and_only_when_they_changed() -> None:
    bench = await make_bench()
    one, two = await bench.worker(), await bench.worker()
    await bench.engine.heartbeat(TENANT, one.id)
    await bench.engine.heartbeat(TENANT, two.id)
    await bench.advance(10)
    assert {beat[1] for beat in bench.ledger.beats} == {one.id, two.id}
    await bench.advance(10)
    assert len(bench.ledger.beats) == 2
    await bench.close()
