"""Migrations and day partitions."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from rows import TENANT, completed, new_task, now

from broadaxe.domain.task import TaskState
from broadaxe.store.ledger import ChildClaim, LogLine
from broadaxe.store.migrate import MigrationError, load_migrations, migrate, schema_version
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.rows import id_floor
from broadaxe.testkit.database import Databases


async def test_migrate_concurrently_each_applied_once(own_databases: Databases) -> None:
    dsn = await own_databases.empty()
    assert await schema_version(dsn) == 0
    reports = await asyncio.gather(*(migrate(dsn) for _ in range(4)))
    newest = len(load_migrations())
    assert [report.version for report in reports] == [newest] * 4
    assert sorted(len(report.applied) for report in reports) == [0, 0, 0, newest]
    assert await schema_version(dsn) == newest
    assert (await migrate(dsn)).applied == ()


async def test_migrate_newer_database_refused(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO schema_migration VALUES (9999, 'from_the_future', '')")
    await connection.close()
    with pytest.raises(MigrationError, match="9999_from_the_future"):
        await migrate(dsn)


async def test_migrate_changed_migration_refused(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE schema_migration SET checksum = 'other' WHERE version = 2")
    await connection.close()
    with pytest.raises(MigrationError, match="0002_workflows was applied with another content"):
        await migrate(dsn)


async def test_partitioned_tables_are_all_that_are_partitioned(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    listed = await connection.fetch("SELECT parent FROM partitioned_tables()")
    found = await connection.fetch("SELECT partrelid::regclass::text FROM pg_partitioned_table")
    await connection.close()
    assert sorted(row[0] for row in listed) == sorted(row[0] for row in found)


async def test_ensure_partitions_made_ahead_once(ledger: PostgresLedger) -> None:
    before = set(await ledger.partitions.days())
    horizon = await ledger.partitions.ensure_partitions(7)
    # The day may have changed since the database was made that this one is a copy of, and since just now.
    today = (horizon.until - timedelta(days=8)).date()
    assert today in (now().date(), now().date() - timedelta(days=1))
    assert horizon.until == datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=8)
    missing = {today + timedelta(days=day) for day in range(8)} - before
    assert len(missing) in (4, 5)
    assert len(horizon.made) == 10 * len(missing)
    assert today - timedelta(days=1) in before
    assert (await ledger.partitions.ensure_partitions(7)).made == ()


async def test_ensure_partitions_while_a_task_is_being_read_waits_for_nobody(
    ledger: PostgresLedger, dsn: str
) -> None:
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.fetch("SELECT count(*) FROM task")
        horizon = await asyncio.wait_for(ledger.partitions.ensure_partitions(9), 30)
    await connection.close()
    assert horizon.made


async def test_drop_partitions_before_keeps_days_with_unfinished_tasks(
    ledger: PostgresLedger, dsn: str
) -> None:
    connection = await asyncpg.connect(dsn)
    today = now().date()
    await connection.execute("SELECT make_partitions($1::date, $2::date)", today - timedelta(days=5), today)
    kept_day, gone_day = today - timedelta(days=3), today - timedelta(days=4)

    def on(day: object, number: int) -> object:
        floor = id_floor(datetime.combine(day, datetime.min.time(), UTC))  # type: ignore[arg-type]
        return type(floor)(int=floor.int + number)

    live = new_task(task_id=on(kept_day, 1))  # type: ignore[arg-type]
    ended = new_task(state=TaskState.ASSIGNED, task_id=on(kept_day, 2))  # type: ignore[arg-type]
    gone = new_task(state=TaskState.ASSIGNED, task_id=on(gone_day, 1))  # type: ignore[arg-type]
    await ledger.create_tasks([live, ended, gone], patience=30)
    claims = [ChildClaim(task.facts.id, "i:0") for task in (live, ended)]
    await ledger.create_tasks([new_task(claim=claim) for claim in claims], patience=30)
    lines = [LogLine(TENANT, task.facts.id, 0, now(), "INFO", "x", b"{}") for task in (live, ended, gone)]
    await ledger.add_log_lines(lines)
    assert await ledger.write_task(completed(ended))
    assert await ledger.write_task(completed(gone))
    report = await ledger.partitions.drop_partitions_before(today)
    assert report.emptied_days == (kept_day,)
    assert gone_day in report.dropped_days
    assert report.rows_deleted == 3
    assert await ledger.get_task(TENANT, live.facts.id) is not None
    assert await ledger.get_tasks(TENANT, [ended.facts.id, gone.facts.id]) == []
    assert await connection.fetchval("SELECT count(*) FROM child_claim") == 1
    assert await connection.fetchval("SELECT count(*) FROM log_line") == 1
    days = await ledger.partitions.days()
    assert [day for day in days if day < today] == [kept_day]
    await connection.close()
