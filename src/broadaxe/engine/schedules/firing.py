"""From a due time to its run: decided, claimed in the commit that creates the run, or noted as skipped."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from broadaxe.domain.errors import BroadaxeError, ResourceExhausted, Unavailable
from broadaxe.domain.ids import TenantId
from broadaxe.domain.metadata import add_keys
from broadaxe.domain.schedule import (
    CRON_EXPRESSION,
    CRON_NAME,
    CRON_SCHEDULED_AT,
    SCHEDULED_AT,
    Missed,
    SkipReason,
    cron_due,
    dropped_while_paused,
)
from broadaxe.engine.api import Origin, Trigger
from broadaxe.engine.context import EngineContext
from broadaxe.engine.ingest.trigger import Triggers
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.schedules.book import Entry
from broadaxe.engine.schedules.calendar import CronCalendar
from broadaxe.engine.schedules.tracing import FireTraces, Source
from broadaxe.engine.tally import Tally
from broadaxe.engine.tracing import nanoseconds
from broadaxe.store.schedule_ledger import CronRow, FireClaim, ScheduledRow, SkipRecord

_LOG = logging.getLogger(__name__)
_AT_ONCE = 60
"""Due times of one cron that are dealt with in one go."""
_RETRY = timedelta(seconds=1)


class Firing:
    """Deals with entries whose time has come. What it answers waits for its next time."""

    def __init__(self, context: EngineContext, memory: Memory, triggers: Triggers, tally: Tally) -> None:
        self._ledger = context.ledger
        self._clock = context.clock
        self._options = context.options
        self._memory = memory
        self._triggers = triggers
        self._tally = tally
        self._traces = FireTraces(context)

    async def fire(self, entries: Sequence[Entry]) -> list[Entry]:
        """Start the runs that these entries owe; the entries that wait again."""
        crons = [entry for entry in entries if entry.cron]
        planned = [entry for entry in entries if not entry.cron]
        try:
            cron_rows = await self._ledger.schedules.get_crons([e.key for e in crons]) if crons else []
            planned_rows = (
                await self._ledger.schedules.get_scheduled([e.key for e in planned]) if planned else []
            )
        except BroadaxeError as error:
            _LOG.warning("due times cannot be read: %s", error.message)
            return [self._later(entry) for entry in entries]
        by_key = {entry.key: entry for entry in entries}
        work = [self._cron(row) for row in cron_rows] + [self._planned(row) for row in planned_rows]
        rows: list[CronRow | ScheduledRow] = [*cron_rows, *planned_rows]
        answers = await asyncio.gather(*work, return_exceptions=True)
        waiting: list[Entry] = []
        for row, answer in zip(rows, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, BroadaxeError):
                    _LOG.error("schedule %s failed", row.id, exc_info=answer)
                waiting.append(self._later(by_key[(row.tenant_id, row.id)]))
            elif answer is not None:
                waiting.append(answer)
        return waiting

    async def _cron(self, row: CronRow) -> Entry | None:
        """Deal with a cron; when it is due next, None if never or if it was switched off."""
        if not row.enabled:
            return None
        owed = cron_due(
            CronCalendar(row.expression),
            row.settled_until,
            self._clock.now(),
            grace=timedelta(seconds=self._options.fire_grace),
            missed=Missed.LAST if self._options.catch_up else Missed.SKIP,
            most=_AT_ONCE,
        )
        source = Source(row.id, row.workflow, row.workflow_id, row.expression, row.trace)
        if owed.skip is not None:
            await self._skip(row.tenant_id, source, owed.skip.first, owed.skip.last, owed.skip.reason)
        pause = self._memory.pauses.get(row.tenant_id, row.workflow_id)
        if owed.fires and dropped_while_paused(pause, cron=True):
            await self._skip(row.tenant_id, source, owed.fires[0], owed.fires[-1], SkipReason.PAUSED)
        else:
            for due_at in owed.fires:
                # In order: were a later one committed first, an earlier one would count as settled.
                extra = {CRON_EXPRESSION: row.expression, CRON_SCHEDULED_AT: _rfc3339(due_at)}
                if row.name is not None:
                    extra[CRON_NAME] = row.name
                trigger = Trigger(row.workflow, row.input, add_keys(row.metadata, extra), row.priority)
                await self._start(row.tenant_id, source, due_at, trigger)
        if owed.next is None:
            return None
        return Entry(row.tenant_id, row.id, row.workflow_id, owed.next, True)

    async def _planned(self, row: ScheduledRow) -> Entry | None:
        """Deal with a planned run; when it is due if it was moved meanwhile."""
        if row.settled_at is not None:
            return None
        if row.trigger_at > self._clock.now():
            return Entry(row.tenant_id, row.id, row.workflow_id, row.trigger_at, False)
        source = Source(row.id, row.workflow, row.workflow_id, None, row.trace)
        pause = self._memory.pauses.get(row.tenant_id, row.workflow_id)
        if dropped_while_paused(pause, cron=False):
            await self._skip(row.tenant_id, source, row.trigger_at, row.trigger_at, SkipReason.PAUSED)
            return None
        trigger = Trigger(
            row.workflow,
            row.input,
            add_keys(row.metadata, {SCHEDULED_AT: _rfc3339(row.trigger_at)}),
            row.priority,
            parent_run_id=row.parent_run_id,
            parent_task_id=row.parent_task_id,
            child_index=row.child_index,
            child_key=row.child_key,
        )
        await self._start(row.tenant_id, source, row.trigger_at, trigger)
        return None

    async def _start(self, tenant_id: TenantId, source: Source, due_at: datetime, trigger: Trigger) -> None:
        """One run for one due time. Unavailable and ResourceExhausted: try again; else it is skipped."""
        began = self._clock.now_ns()
        origin = Origin()
        cron = source.expression is not None
        try:
            run_id = await self._triggers.planned(
                tenant_id, trigger, FireClaim(source.id, due_at, cron), origin
            )
        except (Unavailable, ResourceExhausted):
            raise
        except BroadaxeError as error:
            _LOG.warning("schedule %s of workflow %s: %s", source.id, source.workflow, error.message)
            await self._skip(tenant_id, source, due_at, due_at, SkipReason.REFUSED)
            return
        if run_id is None:
            self._traces.settled(tenant_id, source, due_at, began, "claimed", None)
            return
        self._tally.fired("cron" if cron else "scheduled", (self._clock.now() - due_at).total_seconds())
        if origin.made_at is not None:
            began = nanoseconds(origin.made_at)
        self._traces.settled(tenant_id, source, due_at, began, "fired", origin.parent)

    async def _skip(
        self, tenant_id: TenantId, source: Source, first: datetime, last: datetime, reason: SkipReason
    ) -> None:
        began = self._clock.now_ns()
        record = SkipRecord(tenant_id, source.id, first, last, reason, source.expression is not None)
        await asyncio.shield(self._ledger.record_skips([record]))
        self._tally.skipped(reason.name.lower())
        self._traces.settled(tenant_id, source, last, began, "skipped", None)

    def _later(self, entry: Entry) -> Entry:
        return Entry(entry.tenant_id, entry.id, entry.workflow_id, self._clock.now() + _RETRY, entry.cron)


def _rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
