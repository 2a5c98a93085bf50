"""What a task costs the database: statements, WAL and disk, and plans that touch one partition."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import asyncpg
from rows import TENANT, completed, ids, new_task, started

from broadaxe.domain.task import TaskState
from broadaxe.store.connection import WRITER_SETTINGS
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.statements import statement

RUNS = 4000
CLIENTS = 100


async def run_one(ledger: PostgresLedger) -> None:
    """A simple task: born assigned, started, completed."""
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=None)
    await ledger.write_task(started(task), lazy=0.05)
    assert await ledger.write_task(completed(task))


async def many(count: int, work: Callable[[], Awaitable[None]]) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def test_group_commit_under_load_within_budget(ledger: PostgresLedger, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await run_one(ledger)
    before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    ledger.database.instruments.counts.clear()
    await many(RUNS, lambda: run_one(ledger))
    statements = ledger.database.instruments.statements / RUNS
    wal = await connection.fetchval("SELECT pg_current_wal_insert_lsn() - $1::pg_lsn", before)
    size = await connection.fetchval(
        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
        "WHERE inhparent = 'task'::regclass AND pg_relation_size(inhrelid) > 0"
    )
    await connection.close()
    print(f"{statements:.3f} statements, {wal / RUNS:.0f} bytes of WAL, {size / RUNS:.0f} bytes a task")
    assert statements <= 0.2
    assert wal / RUNS <= 2500
    assert size / RUNS * 10_000 <= 15_000_000


async def test_group_commit_lone_task_few_statements(ledger: PostgresLedger) -> None:
    await run_one(ledger)
    counts = ledger.database.instruments.counts
    counts.clear()
    await run_one(ledger)
    assert counts == {
        "BEGIN": 3, "COMMIT": 3, "task_create_batch_fenced": 1, "task_write_batch_fenced": 2,
    }  # fmt: skip


async def test_write_task_lazy_rides_along(ledger: PostgresLedger) -> None:
    tasks = [new_task(state=TaskState.ASSIGNED) for _ in range(2)]
    await ledger.create_tasks(tasks, patience=None)
    ledger.database.instruments.counts.clear()
    riding = ledger.write_task(started(tasks[0]), lazy=30.0)
    assert await ledger.write_task(completed(tasks[1]))
    assert await riding
    assert ledger.database.instruments.counts["COMMIT"] == 1


async def test_idle_ledger_sends_nothing_but_the_sweep(ledger: PostgresLedger) -> None:
    await ledger.drain()
    counts = ledger.database.instruments.counts
    counts.clear()
    await ledger.sweep(None)
    assert counts == {"message_sweep": 1}


def partitions_in(plan: str) -> set[str]:
    return set(re.findall(r"on (task_p\d+)", plan.replace("(never executed)", "never")))


async def test_hot_statements_plans_touch_one_partition_by_index(ledger: PostgresLedger, dsn: str) -> None:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=None)
    connection = await asyncpg.connect(dsn, server_settings=WRITER_SETTINGS)
    write = completed(task)
    s = write.status
    row = (
        TENANT, task.facts.id, 0, 3, s.state, 0, s.queued_at, 0, 0, s.worker_id, s.assigned_at, s.started_at,
        s.finished_at, None, None, False, s.output, None, False, None, None, None,
    )  # fmt: skip
    text = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + statement("task_write_batch").text
    transaction = connection.transaction()
    await transaction.start()
    update = [line[0] for line in await connection.fetch(text, *([value] for value in row))]
    await transaction.rollback()
    executed = [line for line in update if "never executed" not in line]
    assert sum("Scan using task_p" in line for line in executed) == 1, update
    assert not any("Seq Scan" in line for line in update)
    reader = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_custom_plan"})
    for name, args in (
        ("task_get", (TENANT, task.facts.id)),
        ("task_inputs", (TENANT, [task.facts.id, ids.uuid7()])),
    ):
        plan = "\n".join(
            line[0] for line in await reader.fetch("EXPLAIN (COSTS OFF) " + statement(name).text, *args)
        )
        assert len(partitions_in(plan)) == 1, plan
        assert "_pkey" in plan, plan
    live = await connection.fetch(
        "EXPLAIN (COSTS OFF) " + statement("task_live_page").text, None, 1, task.facts.id, 10
    )
    assert "Sort" not in "\n".join(line[0] for line in live)
    await connection.close()
    await reader.close()
