"""What two engines cost the database: idle, a sweep a second each and a look for free leases; log lines that
reach the one that does not schedule, as much as at the one that does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
import pytest
from store_server import new_options

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition
from broadaxe.engine.api import NewLogLine, Origin, Trigger
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.store.connection import Database
from broadaxe.store.instruments import NoMetrics
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer

SWEEPS = 5
PARTITIONS = 4
LINES = 100
TENANT = TenantId(uuid4())
_BY_ITSELF = {"message_sweep", "lease_try_locks"}
_clock = SystemClock()


@dataclass
class Idle:
    """An engine that does nothing by itself."""

    id: EngineId
    engine: EngineCore
    ledger: PostgresLedger
    seen: "asyncio.Queue[Fleet]"
    partitions: int

    async def sweeps(self, count: int) -> None:
        """Until it has swept so often from now on."""
        while not self.seen.empty():
            self.seen.get_nowait()
        for _ in range(count):
            await self.seen.get()

    async def owns(self, share: int) -> None:
        """Until it sees every lease taken, and that many its own."""
        async with asyncio.timeout(60):
            while True:
                fleet = await self.seen.get()
                mine = [lease for lease in fleet.leases if lease.engine_id == self.id]
                if (
                    len(fleet.leases) == self.partitions
                    and len(mine) == len(self.engine._gate.owned) == share
                ):
                    return

    async def log(self, task_id: UUID, attempt: int | None) -> dict[str, int]:
        """That many lines in one turn of the loop; what was asked of the database for them."""
        counts = self.ledger.database.instruments.counts
        before = counts.copy()
        lines = (NewLogLine(task_id, _clock.now(), None, f"line {n}", b"", attempt) for n in range(LINES))
        await asyncio.gather(*(self.engine.put_log(TENANT, line) for line in lines))
        return {name: count for name, count in (counts - before).items() if name not in _BY_ITSELF}


@asynccontextmanager
async def idle(dsn: str, by_lock: bool, partitions: int = PARTITIONS) -> AsyncIterator[Idle]:
    ids = SystemIds()
    tracer = Tracer(_clock, ids, None, Sampler(1.0))
    options = new_options(dsn, partitions=partitions, lease_by_lock=by_lock)
    ledger = PostgresLedger(Database(options, _clock, ids, tracer))
    seen: asyncio.Queue[Fleet] = asyncio.Queue()
    ledger.on_fleet(seen.put_nowait)
    await ledger.open()
    engine_id = EngineId(ids.uuid7())
    engine = EngineCore(ledger, _clock, ids, tracer, NoMetrics(), EngineOptions(engine_id))
    engine.start()
    await engine.until_ready()
    try:
        yield Idle(engine_id, engine, ledger, seen, partitions)
    finally:
        await engine.drain()
        await engine.stop()
        await ledger.close()


@pytest.mark.parametrize(("by_lock", "look"), [(True, "lease_try_locks"), (False, "lease_expired")])
async def test_two_idle_engines_send_two_statements_a_second_each(dsn: str, by_lock: bool, look: str) -> None:
    async with idle(dsn, by_lock) as first, idle(dsn, by_lock) as second:
        for one in (first, second):
            await one.owns(PARTITIONS // 2)
        # After a change the pauses between two looks grow to a second.
        await asyncio.gather(first.sweeps(3), second.sweeps(3))
        began = _clock.monotonic()
        for one in (first, second):
            one.ledger.database.instruments.counts.clear()
        await asyncio.gather(first.sweeps(SWEEPS), second.sweeps(SWEEPS))
        # A slow machine sends less in a second, never more; what was under way is not among them.
        most = _clock.monotonic() - began + 1
        for one in (first, second):
            counts = one.ledger.database.instruments.counts
            assert counts.keys() <= {"message_sweep", look}
            assert SWEEPS - 1 <= counts["message_sweep"] <= most
            assert counts[look] <= most


async def test_log_lines_cost_an_engine_that_does_not_own_the_tenant_what_they_cost_the_owner(
    dsn: str,
) -> None:
    async with idle(dsn, True, 1) as owner, idle(dsn, True, 1) as other:
        await owner.owns(1)
        await other.owns(0)
        step = StepDefinition(id=uuid4(), name="step", action="flow:step", slots={"default": 1})
        await owner.engine.put_workflow(TENANT, WorkflowDefinition(name="flow", steps=(step,)), Origin())
        task = await owner.engine.trigger(TENANT, Trigger("flow", b"{}"), Origin())
        one = {"BEGIN": 1, "COMMIT": 1, "log_add_batch": 1}
        for attempt in (None, 0):
            assert await owner.log(task, attempt) == one | {"lease_fence": 1}
        await other.log(task, None)  # its writer for what others own is connected
        named = one | {"transaction_name": 1}
        assert await other.log(task, None) == named | {"task_get_many": 1}, "its attempt is asked for, once"
        assert await other.log(task, 0) == named
        counts = other.ledger.database.instruments.counts
        counts.clear()
        for n in range(LINES):
            await other.engine.put_log(TENANT, NewLogLine(task, _clock.now(), None, f"line {n}", b"", 0))
        assert "task_get_many" not in counts, "nor for lines that come one after the other"
        connection = await asyncpg.connect(dsn)
        kept = await connection.fetchval("SELECT count(*) FROM log_line WHERE tenant_id = $1", TENANT)
        await connection.close()
        assert kept == 6 * LINES
