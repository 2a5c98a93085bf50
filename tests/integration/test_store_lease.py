"""Ownership: one engine at a time, fenced by an epoch."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from rows import TENANT, completed, engine, ids, new_task, now
from store_server import Cuttable, MakeLedger

from broadaxe.domain.task import Decision, TaskState
from broadaxe.store.ledger import Fenced, Message, MessageKind, StoredTask, TaskChange
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.context import TraceContext


async def test_acquire_lease_second_engine_waits_for_release(dsn: str, make_ledger: MakeLedger) -> None:
    first, second = await make_ledger(dsn), await make_ledger(dsn)
    one, two = engine(), engine()
    lease = await first.acquire_lease(one)
    assert (lease.epoch, lease.previous_engine, lease.spans_confirmed_until) == (1, None, None)
    waiting = asyncio.create_task(second.acquire_lease(two))
    with pytest.raises(Fenced):
        await second.create_tasks([new_task()], patience=30)
    task = new_task()
    await first.create_tasks([task], patience=30)
    assert not waiting.done()
    until = now()
    await first.release_lease(until)
    taken = await asyncio.wait_for(waiting, 30)
    assert (taken.epoch, taken.previous_engine, taken.spans_confirmed_until) == (2, one, until)
    with pytest.raises(Fenced):
        await first.write_task(completed(task))
    assert await second.create_tasks([new_task()], patience=30)


async def test_acquire_lease_owner_dies_next_one_takes_over(dsn: str, make_ledger: MakeLedger) -> None:
    first, second = await make_ledger(dsn), await make_ledger(dsn)
    await first.acquire_lease(engine())
    waiting = asyncio.create_task(second.acquire_lease(engine()))
    await first.close()
    assert (await asyncio.wait_for(waiting, 30)).epoch == 2


async def test_acquire_lease_again_by_the_same_engine_keeps_epoch(dsn: str, make_ledger: MakeLedger) -> None:
    ledger, other = await make_ledger(dsn), await make_ledger(dsn)
    one = engine()
    assert (await ledger.acquire_lease(one)).epoch == 1
    await ledger.release_lease(None)
    assert (await ledger.acquire_lease(one)).epoch == 1
    await ledger.release_lease(None)
    assert (await asyncio.wait_for(other.acquire_lease(engine()), 30)).epoch == 2


@pytest.mark.parametrize("patience", [0.001, 0.005, 0.02, 0.2])
async def test_acquire_lease_cancelled_leaves_it_to_others(
    dsn: str, make_ledger: MakeLedger, patience: float
) -> None:
    first, second, third = [await make_ledger(dsn) for _ in range(3)]
    await first.acquire_lease(engine())
    waiting = asyncio.create_task(second.acquire_lease(engine()))
    await asyncio.wait([waiting], timeout=patience)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await first.release_lease(None)
    # 3 when the second had it for a moment, as one that is cancelled in the middle of taking it does.
    assert (await asyncio.wait_for(third.acquire_lease(engine()), 30)).epoch in (2, 3)
    assert second.epoch is None


async def test_group_commit_epoch_moved_on_refuses_everything(ledger: PostgresLedger, dsn: str) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    lost: list[int] = []
    ledger.on_fenced(lost.append)
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE lease SET epoch = epoch + 1, engine_id = $1", ids.uuid7())
    await connection.close()
    answers = await asyncio.gather(
        ledger.write_task(completed(task)),
        ledger.create_tasks([new_task()], patience=30),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [Fenced, Fenced]
    assert lost == [0]
    assert await ledger.sweep(None) == []
    stored = await ledger.get_task(TENANT, task.facts.id)
    assert stored is not None
    assert stored.status.state is TaskState.ASSIGNED


async def test_database_lost_and_taken_over_held_operations_are_fenced(
    cuttable: Cuttable, make_ledger: MakeLedger
) -> None:
    await cuttable.proxy.stop()
    held = cuttable.ledger.create_tasks([new_task()], patience=None)
    second = await make_ledger(cuttable.direct)
    assert (await asyncio.wait_for(second.acquire_lease(engine()), 30)).epoch == 2
    await cuttable.proxy.start()
    with pytest.raises(Fenced):
        await asyncio.wait_for(held, 30)
    assert [page async for page in second.load_live_tasks()] == []


async def test_lease_connection_cut_regained_with_the_same_epoch(cuttable: Cuttable) -> None:
    woken = asyncio.Event()
    cuttable.ledger.on_wake(woken.set)
    cuttable.proxy.cut()
    await asyncio.wait_for(
        woken.wait(), 30
    )  # it listens again, and says so since it may have missed something
    assert await cuttable.ledger.create_tasks([new_task()], patience=None)
    assert cuttable.ledger.epoch == 1


async def test_post_wakes_the_owner_and_sweep_takes_each_once(dsn: str, make_ledger: MakeLedger) -> None:
    owner, other = await make_ledger(dsn), await make_ledger(dsn)
    await owner.acquire_lease(engine())
    woken = asyncio.Event()
    owner.on_wake(woken.set)
    trace = TraceContext(b"t" * 16, b"s" * 8, True)
    sent = [Message(TENANT, MessageKind.CANCEL, b"{}", trace), Message(TENANT, MessageKind.REPLAY, b"{}")]
    await other.post(sent)
    await asyncio.wait_for(woken.wait(), 30)
    assert await owner.sweep(None) == sent
    assert await owner.sweep(None) == []
    with pytest.raises(Fenced):
        await other.sweep(None)


async def test_sweep_notes_confirmed_spans(dsn: str, make_ledger: MakeLedger) -> None:
    first, second = await make_ledger(dsn), await make_ledger(dsn)
    await first.acquire_lease(engine())
    at = now() - timedelta(seconds=5)
    await first.sweep(at)
    await first.release_lease(None)
    assert (await second.acquire_lease(engine())).spans_confirmed_until == at


async def test_leases_by_time_end_with_silence_and_fence_the_silent_owner(
    dsn: str, make_ledger: MakeLedger
) -> None:
    """As behind a transaction pooler: no locks, no NOTIFY."""
    first, second = [await make_ledger(dsn, lease_by_lock=False, lease_life=60.0) for _ in range(2)]
    one, two = engine(), engine()
    assert (await first.acquire_lease(one)).epoch == 1
    waiting = asyncio.create_task(second.acquire_lease(two))
    connection = await asyncpg.connect(dsn)
    later = "UPDATE engine SET seen_at = seen_at - interval '40 s' WHERE id = $1"
    for _ in range(3):
        # Kept up by the sweep, in database time.
        await connection.execute(later, one)
        await first.sweep(None)
        await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    for _ in range(2):
        await connection.execute(later, one)
    await connection.close()
    taken = await asyncio.wait_for(waiting, 30)
    assert (taken.epoch, taken.previous_engine) == (2, one)
    with pytest.raises(Fenced):
        await first.create_tasks([new_task()], patience=30)
    assert await second.create_tasks([new_task()], patience=30)


@pytest.mark.parametrize("by_lock", [True, False])
async def test_lease_that_is_handed_over_is_its_heirs_for_a_while_then_the_givers_again(
    dsn: str, make_ledger: MakeLedger, by_lock: bool
) -> None:
    first, second = [await make_ledger(dsn, lease_by_lock=by_lock) for _ in range(2)]
    one, two = engine(), engine()
    await first.acquire_lease(one)
    second.join(two, schedules=True)
    await second.joined()
    await first.release_lease(None, 0, two)
    again = asyncio.create_task(first.acquire_lease(one))
    await asyncio.wait([again], timeout=0.3)
    assert not again.done(), "it gave it away"
    assert (await asyncio.wait_for(second.acquire_lease(two), 30)).epoch == 2
    await second.release_lease(None, 0, one)
    assert (await asyncio.wait_for(again, 30)).epoch == 3
    # Now the heir never comes, and no message says so.
    await first.release_lease(None, 0, two)
    again = asyncio.create_task(first.acquire_lease(one))
    async with asyncio.timeout(30):
        while not again.done():
            await first.sweep(None)
            await asyncio.wait([again], timeout=0.3)
    assert again.result().epoch == 3


async def test_changes_elsewhere_are_judged_on_the_row_and_told_to_the_owner(
    dsn: str, make_ledger: MakeLedger
) -> None:
    owner, other = await make_ledger(dsn), await make_ledger(dsn)
    await owner.acquire_lease(engine())
    other.join(engine(), schedules=False)
    await other.joined()
    task = new_task(state=TaskState.ASSIGNED)
    assert await other.create_elsewhere([task], patience=30) == [task.facts.run_id]

    def complete(stored: StoredTask) -> Decision | None:
        final = stored.status.state.final
        return None if final else Decision(completed(task).status)

    change = TaskChange(TENANT, (task.facts.id, ids.uuid7()), complete)
    answers = await asyncio.gather(*(other.change_elsewhere(change) for _ in range(3)))
    assert [len(answer) for answer in answers] == [1, 1, 1], "unknown ids are left out"
    assert sum(answer[0].decision is not None for answer in answers) == 1, "the others saw what it wrote"
    told = await owner.sweep(None)
    assert [message.kind for message in told] == [MessageKind.ROWS_CHANGED] * 2
    assert str(task.facts.id).encode() in told[1].body
    # What memory had before does not hold any more.
    assert not await owner.write_task(completed(task))


async def test_write_task_expecting_other_times_does_not_hold(ledger: PostgresLedger) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=30)
    write = completed(task)
    stale = replace(write, expect=replace(task.status, started_at=now()))
    assert not await ledger.write_task(stale)
    assert await ledger.write_task(replace(write, expect=task.status))


async def test_post_reaches_the_engine_it_is_for_and_all_of_them_when_it_is_for_all(
    dsn: str, make_ledger: MakeLedger
) -> None:
    owner, other = await make_ledger(dsn), await make_ledger(dsn)
    await owner.acquire_lease(engine())
    there = engine()
    other.join(there, schedules=False)
    await other.joined()
    order = Message(TENANT, MessageKind.SEND, b"{}", None, there)
    forget = Message(TENANT, MessageKind.WORKFLOW_CHANGED, b"{}")
    await owner.post([order, forget])
    assert [message.kind for message in await other.sweep(None)] == [order.kind, forget.kind]
    assert [message.kind for message in await owner.sweep(None)] == [forget.kind]
    assert {member.id for member in owner.fleet.members} == {member.id for member in other.fleet.members}
