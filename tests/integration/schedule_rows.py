"""Crons and planned runs for tests."""

from datetime import UTC, datetime
from uuid import UUID

from rows import TENANT, ids, now

from broadaxe.domain.workflow import StepDefinition, WorkflowDefinition
from broadaxe.store.postgres_ledger import PostgresLedger
from broadaxe.store.schedule_ledger import CronRow, NewCron, NewScheduled, ScheduledRow
from broadaxe.telemetry.context import TraceContext

STEP = StepDefinition(id=UUID(int=3), name="step", action="flow:step")
TRACE = TraceContext(b"t" * 16, b"s" * 8, True)
DUE = datetime(2030, 1, 1, tzinfo=UTC)


def flow(name: str = "flow", **fields: object) -> WorkflowDefinition:
    return WorkflowDefinition(name=name, steps=(STEP,), **fields)  # type: ignore[arg-type]


def new_cron(name: str = "mine", expression: str = "* * * * *", workflow: str = "flow") -> NewCron:
    return NewCron(ids.uuid7(), workflow, expression, name, 2, b'{"a":1}', b'{"m":1}', TRACE, now())


async def cron_in(ledger: PostgresLedger) -> CronRow:
    await ledger.put_workflow(TENANT, flow())
    cron = new_cron()
    assert await ledger.schedules.add_cron(TENANT, cron)
    [row] = await ledger.schedules.get_crons([(TENANT, cron.id)])
    return row


async def planned_in(ledger: PostgresLedger, *times: datetime) -> list[ScheduledRow]:
    await ledger.put_workflow(TENANT, flow())
    runs = tuple((ids.uuid7(), at, None) for at in times)
    assert await ledger.schedules.add_scheduled(
        TENANT, NewScheduled("flow", runs, 1, b'{"a":1}', b"{}", TRACE, now())
    )
    return await ledger.schedules.get_scheduled([(TENANT, run[0]) for run in runs])
