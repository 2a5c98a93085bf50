"""Cut connections and restarts: every acknowledged operation is there exactly once."""

import asyncio
import os
import signal
from collections.abc import Sequence

import asyncpg
import pytest
from rows import TENANT, completed, engine, new_task, started
from store_server import Cuttable, MakeLedger

from broadaxe.domain.errors import ResourceExhausted, Unavailable
from broadaxe.domain.task import TaskState
from broadaxe.store.batch import Batch
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.store.ledger import StoredTask
from broadaxe.store.pending import Pending
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.statements import statement
from broadaxe.testkit.proxy import COMMIT, Fault, FaultProxy, Way


async def live_ids(ledger: PostgresLedger) -> list[object]:
    return [task.facts.id async for page in ledger.load_live_tasks() for task in page]


def watch(ledger: PostgresLedger, wanted: bool) -> "asyncio.Future[None]":
    """Resolves when the ledger says that its database is there, or away."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def listener(available: bool) -> None:
        if available is wanted and not future.done():
            future.set_result(None)

    ledger.state.listeners.append(listener)
    if ledger.state.available is wanted:
        listener(wanted)
    return future


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        pytest.param(COMMIT, Fault.CUT_BEFORE, id="the server never sees the COMMIT"),
        pytest.param(COMMIT, Fault.LOSE_ANSWER, id="the server commits, its answer is lost"),
        pytest.param(b"UPDATE task", Fault.CUT_BEFORE, id="the statement never arrives"),
    ],
)
async def test_commit_cut_every_operation_exactly_once(
    cuttable: Cuttable, pattern: bytes, fault: Fault
) -> None:
    ledger = cuttable.ledger
    tasks = [new_task(state=TaskState.ASSIGNED) for _ in range(10)]
    await asyncio.gather(*(ledger.create_tasks([task], patience=None) for task in tasks))
    first, _ = (cuttable.proxy.on_pattern(pattern, fault) for _ in range(2))
    more = [new_task() for _ in range(10)]
    created = [ledger.create_tasks([task], patience=None) for task in more]
    held = [ledger.write_task(completed(task)) for task in tasks]
    assert await asyncio.wait_for(asyncio.gather(*held), 60) == [True] * 10
    assert await asyncio.gather(*created) == [[task.facts.run_id] for task in more]
    assert first.fired.is_set()
    assert await live_ids(ledger) == [task.facts.id for task in more]


async def test_commit_backend_terminated_under_load_nothing_lost(cuttable: Cuttable) -> None:
    ledger = cuttable.ledger
    connection = await asyncpg.connect(cuttable.direct)
    done: list[object] = []
    ten_more = asyncio.Event()

    async def client() -> None:
        for _ in range(15):
            task = new_task(state=TaskState.ASSIGNED)
            assert await ledger.create_tasks([task], patience=None) == [task.facts.run_id]
            assert await ledger.write_task(started(task), lazy=0.01)
            assert await ledger.write_task(completed(task))
            done.append(task.facts.id)
            if len(done) % 10 == 0:
                ten_more.set()

    async def killer() -> None:
        while True:
            ten_more.clear()
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND application_name LIKE '%writer'"
            )
            await ten_more.wait()

    killing = asyncio.create_task(killer())
    try:
        await asyncio.wait_for(asyncio.gather(*(client() for _ in range(10))), 60)
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    rows = await connection.fetch("SELECT id FROM task WHERE state = 10")
    await connection.close()
    assert sorted(row[0] for row in rows) == sorted(done)  # type: ignore[type-var]
    assert await live_ids(ledger) == []


async def test_database_away_held_operations_commit_when_it_is_back(cuttable: Cuttable) -> None:
    ledger, proxy = cuttable.ledger, cuttable.proxy
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=None)
    away = watch(ledger, False)
    await proxy.stop()
    held = ledger.write_task(completed(task))
    impatient = ledger.create_tasks([new_task()], patience=0.2)
    await asyncio.wait_for(away, 30)
    assert ledger.state.away_since is not None
    with pytest.raises(Unavailable):
        await impatient
    with pytest.raises(Unavailable):
        await ledger.get_task(TENANT, task.facts.id)
    assert not held.done()
    assert ledger.held_bytes > 0
    await proxy.start()
    assert await asyncio.wait_for(held, 30)
    assert ledger.held_bytes == 0
    assert ledger.epoch == 1


async def test_database_away_too_long_or_too_much_is_exhausted(
    proxied: str, proxy: FaultProxy, make_ledger: MakeLedger
) -> None:
    ledger = await make_ledger(proxied, held_max_seconds=0.3, held_max_bytes=5000)
    await ledger.acquire_lease(engine())
    away = watch(ledger, False)
    await proxy.stop()
    held = [ledger.create_tasks([new_task()], patience=None) for _ in range(20)]
    answers = await asyncio.wait_for(asyncio.gather(*held, return_exceptions=True), 30)
    await asyncio.wait_for(away, 30)
    assert all(isinstance(answer, ResourceExhausted) for answer in answers)
    assert {str(answer) for answer in answers} == {
        "Too much waits to be stored; try again later.",
        "The database was away for too long.",
    }


@pytest.mark.parametrize("how", ["stopped", "crashed"])
async def test_database_restart_waiting_operations_commit_and_the_epoch_stays(
    postgres: EmbeddedPostgres, ledger: PostgresLedger, how: str
) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=None)
    away = watch(ledger, False)
    if how == "stopped":
        await postgres.stop()
    else:
        # Its keeper starts it again, and that recovers it.
        assert postgres.pid is not None
        os.kill(postgres.pid, signal.SIGQUIT)
    held = ledger.write_task(completed(task))
    await asyncio.wait_for(away, 30)
    back = watch(ledger, True)
    await postgres.start()
    assert await asyncio.wait_for(held, 60)
    await asyncio.wait_for(back, 60)
    stored = await ledger.get_task(TENANT, task.facts.id)
    assert isinstance(stored, StoredTask)
    assert stored.status.state is TaskState.COMPLETED
    assert ledger.epoch == 1


async def test_network_goes_silent_operations_commit_once_on_a_new_connection(
    dsn: str, proxied: str, proxy: FaultProxy, make_ledger: MakeLedger
) -> None:
    ledger = await make_ledger(
        proxied,
        statement_timeout=1.0, answer_grace=0.5, connect_timeout=1.0,
    )  # fmt: skip
    await ledger.acquire_lease(engine())
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=None)
    away = watch(ledger, False)
    proxy.stall(Way.TO_SERVER)
    held = ledger.write_task(completed(task))
    impatient = ledger.create_tasks([new_task()], patience=0.2)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(impatient, 30)
    await asyncio.wait_for(away, 30)
    proxy.resume()
    assert await asyncio.wait_for(held, 60)
    # By another one, whose reads may take their time.
    assert await live_ids(await make_ledger(dsn)) == []


async def test_close_while_the_database_is_away_answers_everything(cuttable: Cuttable) -> None:
    away = watch(cuttable.ledger, False)
    await cuttable.proxy.stop()
    held = cuttable.ledger.create_tasks([new_task()], patience=None)
    await asyncio.wait_for(away, 30)
    await asyncio.wait_for(cuttable.ledger.close(), 30)
    with pytest.raises(Unavailable):
        await held


async def test_acquire_lease_frozen_owner_in_a_transaction_is_ended_by_the_server(
    dsn: str, make_ledger: MakeLedger
) -> None:
    frozen = await make_ledger(dsn, idle_in_transaction_timeout=2.0)
    await frozen.acquire_lease(engine())
    writer = await frozen.database.connect("frozen")
    await writer.begin()
    await writer.fetch(statement("lease_read"), 0)  # holds the lease's row, and says nothing more
    await frozen.release_lease(None)
    other = await make_ledger(dsn)
    # Well before the 15 s that other engines are given.
    assert (await asyncio.wait_for(other.acquire_lease(engine()), 14)).epoch == 2


async def test_writer_fault_of_our_own_answers_the_batch_and_goes_on(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Batch.apply

    async def broken(batch: Batch, ops: Sequence[Pending]) -> list[object]:
        await apply(batch, ops)
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "apply", broken)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(ledger.create_tasks([new_task()], patience=None), 30)
    task = new_task()
    assert await asyncio.wait_for(ledger.create_tasks([task], patience=None), 30) == [task.facts.run_id]
    assert await live_ids(ledger) == [task.facts.id]  # nothing of the cut transaction
    assert ledger.held_bytes == 0
