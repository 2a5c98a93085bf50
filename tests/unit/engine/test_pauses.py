"""Pausing workflows: what waits is kept from workers, for a while; running tasks go on."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from broadaxe.domain.errors import NotFound
from broadaxe.domain.schedule import Pause, PausedRuns, SkipReason
from broadaxe.domain.task import TaskState
from broadaxe.engine.api import EventKind, Origin
from broadaxe.testkit.verify import verify

from .harness import OTHER, TENANT, Bench, make_bench
from .test_schedules import add_cron, plan, planned


def workflow(bench: Bench, name: str = "flow") -> UUID:
    return bench.tables.newest[(TENANT, name)].workflow_id


async def pause(bench: Bench, ttl: float = 600.0, name: str = "flow", **how: Any) -> None:
    await bench.engine.schedules.pause(TENANT, workflow(bench, name), Pause(ttl=ttl, **how))
    await bench.settle()


async def resume(bench: Bench) -> None:
    await bench.engine.schedules.resume(TENANT, workflow(bench))
    await bench.settle()


def check(bench: Bench) -> None:
    verify(bench.engine.memory, bench.tables.tasks.values(), history=bench.tables.history)


async def test_new_runs_are_accepted_and_wait_until_the_workflow_is_resumed() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    await pause(bench)
    run_id = await bench.trigger()
    assert bench.state(run_id) is TaskState.QUEUED
    assert worker.starts == []
    check(bench)
    await resume(bench)
    assert [action.task_id for action in worker.starts] == [run_id]
    check(bench)
    await bench.close()


async def test_waiting_runs_leave_their_queue_and_come_back_in_their_order() -> None:
    bench = await make_bench()
    await bench.register()
    runs = [await bench.trigger(priority=priority) for priority in (1, 3, 2)]
    await pause(bench)
    check(bench)
    worker = await bench.worker(slots=1)
    assert worker.starts == []
    await resume(bench)
    for expected in (runs[1], runs[2], runs[0]):
        assert worker.starts[-1].task_id == expected
        await bench.report(EventKind.COMPLETED, expected, b"{}", attempt=0)
    await bench.close()


async def test_running_tasks_go_on_and_their_retries_wait() -> None:
    bench = await make_bench()
    await bench.register(step={"retries": 1})
    worker = await bench.worker()
    done, failing = await bench.trigger(), await bench.trigger()
    await pause(bench)
    await bench.report(EventKind.COMPLETED, done, b"{}", attempt=0)
    await bench.report(EventKind.FAILED, failing, b"no", attempt=0)
    assert bench.state(done) is TaskState.COMPLETED
    assert bench.state(failing) is TaskState.QUEUED
    assert len(worker.starts) == 2
    await resume(bench)
    assert worker.starts[-1].attempt == 1
    check(bench)
    await bench.close()


async def test_what_waits_for_longer_than_the_pause_allows_is_cancelled() -> None:
    bench = await make_bench()
    await bench.register()
    before = await bench.trigger()
    await bench.advance(20)
    await pause(bench, ttl=60)
    await bench.advance(30)
    during = await bench.trigger()
    await bench.advance(31)
    assert bench.state(before) is TaskState.CANCELLED
    assert bench.state(during) is TaskState.QUEUED
    await bench.advance(30)
    assert bench.state(during) is TaskState.CANCELLED
    check(bench)
    await bench.close()


async def test_schedule_time_out_stands_still_during_a_pause_and_starts_anew() -> None:
    bench = await make_bench()
    await bench.register(step={"schedule_timeout": 60.0})
    run_id = await bench.trigger()
    await bench.advance(50)
    await pause(bench)
    await bench.advance(100)
    assert bench.state(run_id) is TaskState.QUEUED
    await resume(bench)
    await bench.advance(50)
    assert bench.state(run_id) is TaskState.QUEUED
    await bench.advance(11)
    assert bench.state(run_id) is TaskState.CANCELLED
    await bench.close()


async def test_pause_survives_a_restart_and_so_does_its_end() -> None:
    bench = await make_bench()
    await bench.register(step={"schedule_timeout": 60.0})
    run_id = await bench.trigger()
    await pause(bench, ttl=100)
    bench.ledger.crash()
    bench.clock.advance(80)
    again = await make_bench(bench.tables, bench.clock, seed=1)
    worker = await again.worker()
    assert worker.starts == []
    check(again)
    late = await again.trigger()
    await again.advance(21)
    assert again.state(run_id) is TaskState.CANCELLED
    await again.engine.schedules.resume(TENANT, workflow(again))
    again.ledger.crash()
    third = await make_bench(bench.tables, bench.clock, seed=2)
    await third.advance(50)
    assert third.state(late) is TaskState.QUEUED
    check(third)
    await third.close()


async def test_other_workflows_of_the_same_action_go_on() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.register(name="sister")
    worker = await bench.worker()
    await pause(bench)
    await bench.trigger()
    free = await bench.trigger(workflow="sister")
    assert [action.task_id for action in worker.starts] == [free]
    check(bench)
    await bench.close()


async def test_waiting_run_of_a_paused_workflow_can_be_cancelled() -> None:
    bench = await make_bench()
    await bench.register()
    await pause(bench)
    run_id = await bench.trigger()
    assert await bench.engine.cancel(TENANT, [run_id], None, Origin()) == [run_id]
    check(bench)
    await resume(bench)
    assert bench.state(run_id) is TaskState.CANCELLED
    await bench.close()


async def test_refused_cancel_at_the_end_of_its_patience_is_tried_again() -> None:
    bench = await make_bench()
    await bench.register()
    run_id = await bench.trigger()
    await pause(bench, ttl=10)
    refused = []

    def refuse(item: object) -> BaseException | None:
        refused.append(item)
        return NotFound("no") if len(refused) == 1 else None

    bench.ledger.refuse = refuse
    await bench.advance(10)
    assert refused
    assert bench.state(run_id) is TaskState.QUEUED
    await bench.advance(3)
    assert bench.state(run_id) is TaskState.CANCELLED
    await bench.close()


@pytest.mark.parametrize("keep", [PausedRuns.DROP, PausedRuns.QUEUE])
async def test_crons_and_planned_runs_are_dropped_or_wait(keep: PausedRuns) -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    await add_cron(bench)
    [one] = await plan(bench, bench.clock.now() + timedelta(seconds=30))
    await pause(bench, crons=keep, scheduled=keep)
    await bench.advance(60)
    if keep is PausedRuns.DROP:
        assert not bench.tables.tasks
        assert {skip.reason for skip in bench.tables.schedules.skips} == {SkipReason.PAUSED}
        assert planned(bench, one).skipped is SkipReason.PAUSED
    else:
        assert [stored.status.state for stored in bench.tables.tasks.values()] == [TaskState.QUEUED] * 2
    await resume(bench)
    check(bench)
    await bench.advance(60)
    assert len(bench.tables.tasks) == (1 if keep is PausedRuns.DROP else 3)
    await bench.close()


async def test_pause_can_be_changed_and_unknown_workflows_are_named() -> None:
    bench = await make_bench()
    await bench.register()
    run_id = await bench.trigger()
    await pause(bench, ttl=1_000)
    await pause(bench, ttl=10)
    await bench.advance(11)
    assert bench.state(run_id) is TaskState.CANCELLED
    with pytest.raises(NotFound):
        await bench.engine.schedules.pause(OTHER, workflow(bench), Pause(ttl=1))
    with pytest.raises(NotFound):
        await bench.engine.schedules.resume(TENANT, UUID(int=5))
    await bench.close()
