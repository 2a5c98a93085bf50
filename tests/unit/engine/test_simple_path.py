"""Register, listen, trigger, run, wait for the result."""

import asyncio

from broadaxe.domain.task import TaskState
from broadaxe.engine.api import EventKind, Origin

from .harness import TENANT, make_bench


async def test_trigger_with_a_free_slot_is_born_assigned_and_sent_after_the_commit() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    commits = bench.ledger.commits
    run_id = await bench.trigger({"n": 1})
    assert bench.tables.history == [(run_id, TaskState.ASSIGNED, 0)]
    assert bench.ledger.commits == commits + 1
    [action] = worker.starts
    assert action.payload == (
        b'{"input":{"n": 1},"triggered_by":"manual","parents":{},"triggers":{},"user_data":null,'
        b'"overrides":null,"step_run_errors":{}}'
    )
    assert (action.task_id, action.run_id, action.attempt) == (run_id, run_id, 0)
    await bench.close()


async def test_run_that_completes_before_its_start_is_written_takes_two_commits() -> None:
    bench = await make_bench()
    await bench.register()
    await bench.worker()
    commits = bench.ledger.commits
    run_id = await bench.trigger()
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run_id)
    started = asyncio.ensure_future(bench.report(EventKind.STARTED, run_id, attempt=0))
    await asyncio.sleep(0)
    await bench.report(EventKind.COMPLETED, run_id, b'{"x":1}', attempt=0)
    await started
    finished = await anext(aiter(subscription))
    assert finished.run_id == run_id
    assert finished.results[0].output == b'{"x":1}'
    row = bench.row(run_id)
    assert row.status.state is TaskState.COMPLETED
    assert row.status.started_at is not None
    assert bench.ledger.commits == commits + 2
    await bench.close()
