"""What a herd of crons that are due at one second costs: statements by the batch, not by the cron."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from rows import TENANT, ids, now
from store_server import MakeLedger

from broadaxe.clock import SystemClock, SystemIds
from broadaxe.domain.ids import EngineId
from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition
from broadaxe.engine.context import EngineOptions
from broadaxe.engine.core import EngineCore
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.telemetry.sampler import Sampler
from broadaxe.telemetry.tracer import Tracer
from broadaxe.testkit.conditions import until
from broadaxe.testkit.schedule_invariants import schedule_problems

CRONS = 2_000
_MAKE = """
INSERT INTO cron (created_at, updated_at, settled_until, enabled, method, id, tenant_id, workflow_id,
                  expression, name, input, metadata)
SELECT $1, $1, $1, true, 1, u.id, $2, $3, $4, 'cron-' || u.n, '{"n":1}', '{}'
FROM unnest($5::uuid[]) WITH ORDINALITY AS u (id, n)
"""


class NoMeter:
    def add(self, *_: object) -> None: ...
    def record(self, *_: object) -> None: ...
    def observe(self, *_: object) -> None: ...


async def herd(ledger: PostgresLedger, connection: Any) -> None:
    """Crons that were all due at the same second a moment ago, within the grace."""
    step = StepDefinition(id=UUID(int=3), name="step", action="herd:step")
    version = await ledger.put_workflow(TENANT, WorkflowDefinition(name="herd", steps=(step,)))
    due = now().replace(microsecond=0) - timedelta(seconds=2)
    expression = f"{due.second} {due.minute} {due.hour} * * *"
    crons = [ids.uuid7() for _ in range(CRONS)]
    settled = due - timedelta(seconds=1)
    await connection.execute(_MAKE, settled, TENANT, version.workflow_id, expression, crons)


async def test_herd_of_crons_takes_few_statements_and_each_fires_once(
    dsn: str, make_ledger: MakeLedger
) -> None:
    ledger = await make_ledger(dsn)
    connection = await asyncpg.connect(dsn)
    await herd(ledger, connection)
    clock = SystemClock()
    engine = EngineCore(
        ledger,
        clock,
        SystemIds(),
        Tracer(clock, SystemIds(), None, Sampler(1.0)),
        NoMeter(),
        EngineOptions(EngineId(ids.uuid7()), fire_grace=600.0),
    )
    counts = ledger.database.instruments.counts
    counts.clear()
    engine.start()
    try:

        async def all_fired() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM fire") == CRONS)

        await until(all_fired, "every cron", 120.0)
        assert await connection.fetchval("SELECT count(*) FROM task") == CRONS
        assert await schedule_problems(connection) == []
        print({name: count for name, count in counts.items() if count > 1})
        assert counts["cron_get_many"] <= 4
        assert counts["fire_claim_batch"] == counts["task_create_batch"] <= CRONS / 20
        assert sum(counts.values()) / CRONS <= 0.3
    finally:
        await engine.drain()
        await engine.stop()
        await connection.close()
