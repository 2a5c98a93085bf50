"""I6: each due time of a cron has one run or is noted as skipped; each planned run is settled once."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from broadaxe.engine.schedules.calendar import CronCalendar

_CRONS = "SELECT id, expression, created_at, settled_until FROM cron"
_FIRES = "SELECT source_id, due_at, until, run_id FROM fire ORDER BY source_id, due_at"
_PLANNED = "SELECT id, trigger_at, settled_at, run_id, skipped FROM scheduled_run"
_RUNS = "SELECT run_id FROM task UNION SELECT id FROM run"


@dataclass(frozen=True, slots=True)
class _Fire:
    due_at: datetime
    until: datetime
    run_id: UUID | None


async def schedule_problems(
    connection: "asyncpg.Connection[asyncpg.Record]", *, settled_by: datetime | None = None
) -> list[str]:
    """What does not hold. `settled_by`: planned runs due before it must have been dealt with.

    Engines may be at work meanwhile: everything is read of one moment.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _problems(connection, settled_by)


async def _problems(
    connection: "asyncpg.Connection[asyncpg.Record]", settled_by: datetime | None
) -> list[str]:
    runs = {record[0] for record in await connection.fetch(_RUNS)}
    fires: dict[UUID, list[_Fire]] = {}
    for source, due_at, until, run_id in await connection.fetch(_FIRES):
        fires.setdefault(source, []).append(_Fire(due_at, until, run_id))
    found: list[str] = []
    for cron_id, expression, created_at, settled_until in await connection.fetch(_CRONS):
        found += _cron(cron_id, CronCalendar(expression), created_at, settled_until, fires.get(cron_id, []))
    claimed = Counter(fire.run_id for some in fires.values() for fire in some if fire.run_id is not None)
    for planned, trigger_at, settled_at, run_id, skipped in await connection.fetch(_PLANNED):
        if settled_at is not None and (run_id is None) is (skipped is None):
            found.append(f"I6: the planned run {planned} has both or neither of a run and a reason")
        if settled_at is None and settled_by is not None and trigger_at < settled_by:
            found.append(f"I6: the planned run {planned} was due at {trigger_at} and was never dealt with")
        if run_id is not None:
            claimed[run_id] += 1
    found += [f"I6: the run {run_id} of a due time is not there" for run_id in claimed if run_id not in runs]
    found += [f"I6: {times} due times share the run {run}" for run, times in claimed.items() if times > 1]
    return found


def _cron(
    cron_id: UUID, calendar: CronCalendar, since: datetime, until: datetime, fires: list[_Fire]
) -> list[str]:
    found = []
    at = calendar.after(since)
    while at is not None and at <= until:
        told = [fire for fire in fires if fire.due_at <= at <= fire.until]
        if len(told) != 1:
            found.append(f"I6: {at} of cron {cron_id} was dealt with {len(told)} times")
        at = calendar.after(at)
    for fire in fires:
        if fire.run_id is not None and calendar.before(_just_after(fire.due_at)) != fire.due_at:
            found.append(f"I6: cron {cron_id} was fired at {fire.due_at}, which is none of its times")
    return found


def _just_after(at: datetime) -> datetime:
    return at.replace(microsecond=1)
