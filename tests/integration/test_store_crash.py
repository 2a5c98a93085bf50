"""PostgreSQL crashes during a COMMIT: what of the batch is there afterwards is done exactly once.

A server that lost a transaction gives its id to another one, so that `pg_xact_status` speaks of that.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from rows import TENANT, completed, engine, new_task, now
from schedule_rows import DUE, cron_in, planned_in
from store_server import MakeLedger

from broadaxe.domain.schedule import SkipReason
from broadaxe.domain.task import TaskState
from broadaxe.store.embedded import EmbeddedPostgres
from broadaxe.store.ledger import LogLine
from broadaxe.store.migrate import migrate
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.schedule_ledger import SkipRecord
from broadaxe.testkit.conditions import until
from broadaxe.testkit.proxy import COMMIT, Fault, FaultProxy, Way
from broadaxe.testkit.usage import tree
from tests.faults.cluster import socket_of, through

COMMITTED = b"COMMIT\0"
"""The server's answer to a COMMIT."""


@dataclass
class Prepared:
    """A batch of one kind, and how it is seen that it was written."""

    write: Callable[[], Awaitable[object]]
    count: str
    """Asks how often it is there."""
    statement: str
    answer: object = None
    times: int = 1


async def a_result(ledger: PostgresLedger) -> Prepared:
    task = new_task(state=TaskState.ASSIGNED)
    await ledger.create_tasks([task], patience=None)
    done = int(TaskState.COMPLETED)
    count = f"SELECT count(*) FROM task WHERE state = {done}"
    return Prepared(lambda: ledger.write_task(completed(task)), count, "task_write_batch_fenced", True)


async def log_lines(ledger: PostgresLedger) -> Prepared:
    task = new_task()
    await ledger.create_tasks([task], patience=None)
    lines = [LogLine(TENANT, task.facts.id, 0, now(), "INFO", f"line {n}", b"{}") for n in range(3)]
    count = "SELECT count(*) FROM log_line"
    return Prepared(lambda: ledger.add_log_lines(lines), count, "log_add_batch", times=len(lines))


async def skipped_cron(ledger: PostgresLedger) -> Prepared:
    cron = await cron_in(ledger)
    skip = SkipRecord(TENANT, cron.id, DUE, DUE + timedelta(hours=1), SkipReason.MISSED, True)
    return Prepared(lambda: ledger.record_skips([skip]), "SELECT count(*) FROM fire", "fire_claim_batch")


async def skipped_planned_run(ledger: PostgresLedger) -> Prepared:
    [planned] = await planned_in(ledger, DUE)
    skip = SkipRecord(TENANT, planned.id, DUE, DUE, SkipReason.PAUSED, False)
    settled = "SELECT count(*) FROM scheduled_run WHERE settled_at IS NOT NULL"
    return Prepared(lambda: ledger.record_skips([skip]), settled, "scheduled_claim_batch")


KINDS = pytest.mark.parametrize("kind", [a_result, log_lines, skipped_cron, skipped_planned_run])
Kind = Callable[[PostgresLedger], Awaitable[Prepared]]


@dataclass
class Crashing:
    """A server that can be killed, and a ledger that reaches it through a proxy."""

    server: EmbeddedPostgres
    proxy: FaultProxy
    ledger: PostgresLedger
    dsn: str
    frozen: list[int] = field(default_factory=list)

    def freeze(self) -> None:
        """Nothing writes the log but commits: two processes do, every few seconds, perhaps in between."""
        assert self.server.pid is not None
        self.frozen = [pid for pid in tree(self.server.pid)[1:] if _writes_by_itself(pid)]
        assert len(self.frozen) == 2
        for pid in self.frozen:
            os.kill(pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Its keeper starts it again."""
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)
        # The rest end by themselves, but for those that stand still.
        for pid in self.frozen:
            os.kill(pid, signal.SIGKILL)

    async def ask(self, query: str) -> object:
        """One value, around the proxy."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


@asynccontextmanager
async def crashing(folder: Path, make_ledger: MakeLedger) -> AsyncIterator[Crashing]:
    # What was not committed stays in memory, so that the crash takes it all.
    server = EmbeddedPostgres(folder, overrides={"autovacuum": "off", "wal_writer_delay": "10s"})
    dsn = await server.start()
    await migrate(dsn)
    try:
        async with FaultProxy(socket_of(server)) as proxy:
            ledger = await make_ledger(through(dsn, proxy.port))
            await ledger.acquire_lease(engine())
            yield Crashing(server, proxy, ledger, dsn)
            await ledger.close()
    finally:
        await server.stop()


@KINDS
async def test_commit_lost_in_a_crash_is_done_again_though_another_transaction_got_its_id(
    kind: Kind, tmp_path: Path, make_ledger: MakeLedger
) -> None:
    async with crashing(tmp_path / "server", make_ledger) as it:
        batch = await kind(it.ledger)
        it.freeze()
        held = it.proxy.on_pattern(COMMIT, Fault.STALL)
        write = asyncio.ensure_future(batch.write())
        await held.wait()
        lost = await it.ask("SELECT backend_xid::text FROM pg_stat_activity WHERE backend_xid IS NOT NULL")
        it.kill()
        await take(it.dsn, str(lost))
        it.proxy.resume()
        assert await asyncio.wait_for(write, 60) == batch.answer
        assert await it.ask(batch.count) == batch.times


@KINDS
async def test_commit_that_a_crash_left_is_not_done_again(
    kind: Kind, tmp_path: Path, make_ledger: MakeLedger
) -> None:
    async with crashing(tmp_path / "server", make_ledger) as it:
        batch = await kind(it.ledger)
        held = it.proxy.on_pattern(COMMITTED, Fault.STALL, Way.TO_CLIENT)
        write = asyncio.ensure_future(batch.write())
        await held.wait()
        it.kill()
        it.proxy.cut()  # the answer that is held never comes
        await until(lambda: reachable(it.dsn), "the server is there again", 60.0)
        it.proxy.resume()
        assert await asyncio.wait_for(write, 60) == batch.answer
        assert await it.ask(batch.count) == batch.times
        assert it.ledger.database.instruments.counts[batch.statement] == 1


def _writes_by_itself(pid: int) -> bool:
    title = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"walwriter" in title or b"background writer" in title


async def reachable(dsn: str) -> asyncpg.Connection | None:
    try:
        return await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError):
        return None


async def take(dsn: str, transaction: str) -> None:
    """Commit, once the server is there again, until a transaction of this id has."""
    connection = await until(lambda: reachable(dsn), "the server is there again", 60.0)
    while int(await connection.fetchval("SELECT pg_current_xact_id()::text")) < int(transaction):
        pass
    assert await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", transaction) == "committed"
    await connection.close()
