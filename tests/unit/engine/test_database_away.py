"""While the database cannot be reached, streams stay open and reports wait."""

import asyncio

import pytest

from broadaxe.domain.errors import ResourceExhausted
from broadaxe.domain.task import TaskState
from broadaxe.engine.api import EventKind, Origin, WorkerEvent
from broadaxe.testkit.verify import verify

from .harness import TENANT, make_bench
from .test_sessions import silent_worker


async def test_away_heartbeats_are_answered_and_reports_wait_for_its_return() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    run = await bench.trigger()
    bench.ledger.go_away()
    await bench.engine.heartbeat(TENANT, worker.id)
    call = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.COMPLETED, run, 0, b"1"), Origin())
    )
    await bench.advance(20)
    assert not call.done()
    assert not worker.ended
    bench.ledger.come_back()
    await bench.settle()
    await call
    assert bench.state(run) is TaskState.COMPLETED
    verify(bench.engine.memory, bench.tables.tasks.values(), history=bench.tables.history)
    await bench.close()


async def test_away_a_listener_is_held_until_it_returns() -> None:
    bench = await make_bench()
    await bench.register()
    worker = await bench.worker()
    await worker.hang_up()
    bench.ledger.go_away()
    call = asyncio.ensure_future(bench.engine.open_session(TENANT, worker.id))
    await bench.advance(20)
    assert not call.done()
    bench.ledger.come_back()
    await bench.settle()
    assert (await call).open
    await bench.close()


async def test_away_for_too_long_a_listener_is_refused_but_never_unavailable() -> None:
    bench = await make_bench()
    worker = await bench.worker()
    await worker.hang_up()
    bench.ledger.go_away()
    call = asyncio.ensure_future(bench.engine.open_session(TENANT, worker.id))
    await bench.settle()
    await bench.advance(302, 30)
    with pytest.raises(ResourceExhausted):
        await call
    bench.ledger.come_back()
    await bench.close()


async def test_away_a_subscription_is_answered_after_its_return() -> None:
    bench = await make_bench(finished_kept=0)
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    await bench.report(EventKind.COMPLETED, run, b"1", attempt=0)
    bench.ledger.go_away()
    subscription = bench.engine.subscribe_runs(TENANT, Origin())
    subscription.add(run)
    read = asyncio.ensure_future(anext(aiter(subscription)))
    await bench.advance(3)
    assert not read.done()
    bench.ledger.come_back()
    await bench.advance(2)
    assert (await read).run_id == run
    await bench.close()


async def test_outbox_is_bounded_in_bytes_too() -> None:
    bench = await make_bench(outbox_bytes=1_000)
    await bench.register()
    _, session = await silent_worker(bench, slots=10)
    for _ in range(5):
        await bench.trigger({"text": "x" * 600})
    assert session.waiting == 2
    session.sent(await anext(session), 0, 0, 1)
    session.sent(await anext(session), 0, 0, 1)
    await bench.settle()
    assert session.waiting == 2
    await bench.close()


async def test_away_a_stop_does_not_wait_for_it_for_ever() -> None:
    bench = await make_bench(drain_wait=0.0)
    await bench.register()
    await bench.worker()
    run = await bench.trigger()
    bench.ledger.go_away()
    call = asyncio.ensure_future(
        bench.engine.worker_event(TENANT, WorkerEvent(EventKind.COMPLETED, run, 0, b"1"), Origin())
    )
    await bench.settle()
    await bench.engine.drain()
    await bench.engine.stop()
    assert bench.state(run) is TaskState.ASSIGNED
    call.cancel()
