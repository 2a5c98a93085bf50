"""What two idle engines cost the database: a sweep a second each, and a look for free leases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from store_server import new_options

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.store.connection import Database
from broadaxe.store.instruments import NoMetrics
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer

SWEEPS = 5
PARTITIONS = 4
_clock = SystemClock()


@dataclass
class Idle:
    """An engine with nothing to do."""

    id: EngineId
    engine: EngineCore
    ledger: PostgresLedger
    seen: "asyncio.Queue[Fleet]"

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
                if len(fleet.leases) == PARTITIONS and len(mine) == len(self.engine._gate.owned) == share:
                    return


@asynccontextmanager
async def idle(dsn: str, by_lock: bool) -> AsyncIterator[Idle]:
    ids = SystemIds()
    tracer = Tracer(_clock, ids, None, Sampler(1.0))
    options = new_options(dsn, partitions=PARTITIONS, lease_by_lock=by_lock)
    ledger = PostgresLedger(Database(options, _clock, ids, tracer))
    seen: asyncio.Queue[Fleet] = asyncio.Queue()
    ledger.on_fleet(seen.put_nowait)
    await ledger.open()
    engine_id = EngineId(ids.uuid7())
    engine = EngineCore(ledger, _clock, ids, tracer, NoMetrics(), EngineOptions(engine_id))
    engine.start()
    await engine.until_ready()
    try:
        yield Idle(engine_id, engine, ledger, seen)
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
        # A slow machine sends less in a second, never more.
        most = _clock.monotonic() - began + 1
        for one in (first, second):
            counts = one.ledger.database.instruments.counts
            assert counts.keys() == {"message_sweep", look}
            assert SWEEPS <= counts["message_sweep"] <= most
            assert counts[look] <= most
