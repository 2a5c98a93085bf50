"""Crons, planned runs and pauses in memory: the rules of the database's statements, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid5

from broadaxe.domain.ids import TenantId
from broadaxe.domain.schedule import TICK, Method, Pause, SkipReason
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.store.ledger import NewTask
from broadaxe.store.run_ledger import NewRun
from broadaxe.store.schedule_ledger import (
    CronPlan,
    CronRow,
    NewCron,
    NewScheduled,
    ScheduledPlan,
    ScheduledRow,
    SkipRecord,
    WorkflowPause,
)
from broadaxe.telemetry.context import TraceContext

Key = tuple[TenantId, UUID]


class ScheduleTables:
    """What would be in the database."""

    def __init__(self) -> None:
        self.crons: dict[Key, CronRow] = {}
        self.scheduled: dict[Key, ScheduledRow] = {}
        self.fires: dict[tuple[TenantId, UUID, datetime], UUID] = {}
        """Runs of crons by due time."""
        self.skips: list[SkipRecord] = []
        self.pauses: dict[Key, Pause] = {}


class MemorySchedules:
    """Implements `ScheduleLedger`."""

    def __init__(
        self,
        tables: ScheduleTables,
        newest: dict[tuple[TenantId, str], WorkflowVersion],
        now: Callable[[], datetime],
    ) -> None:
        self._tables = tables
        self._newest = newest
        self._now = now

    # -- what rides on a commit ------------------------------------------------------------------------

    def claim(self, task: NewTask | NewRun) -> bool:
        """Whether the due time of a new task is its own now."""
        fire, tenant_id = task.fire, task.facts.tenant_id
        assert fire is not None
        key = (tenant_id, fire.source_id)
        if not fire.cron:
            planned = self._tables.scheduled.get(key)
            if planned is None or planned.settled_at is not None or planned.trigger_at != fire.due_at:
                return False
            self._tables.scheduled[key] = replace(planned, settled_at=self._now(), run_id=task.facts.run_id)
            return True
        cron = self._tables.crons.get(key)
        if cron is None or not cron.enabled:
            return False
        self._settle(key, fire.due_at)
        return self._tables.fires.setdefault((*key, fire.due_at), task.facts.run_id) == task.facts.run_id

    def skip(self, skips: Sequence[SkipRecord]) -> None:
        """Note what gets no run."""
        for skip in skips:
            key = (skip.tenant_id, skip.source_id)
            if skip.cron:
                self._settle(key, skip.last)
            elif key in self._tables.scheduled:
                row = self._tables.scheduled[key]
                self._tables.scheduled[key] = replace(row, settled_at=self._now(), skipped=skip.reason)
            self._tables.skips.append(skip)

    def declare(self, version: WorkflowVersion, trace: TraceContext | None) -> None:
        """The declared crons become those of this version."""
        definition, tenant_id = version.definition, version.tenant_id
        wanted = set(definition.cron_triggers)
        for key, row in list(self._tables.crons.items()):
            mine = row.workflow_id == version.workflow_id and row.method is Method.DECLARED
            if mine and row.expression not in wanted:
                del self._tables.crons[key]
            elif mine:
                wanted.discard(row.expression)
                self._tables.crons[key] = replace(row, input=(definition.cron_input or "{}").encode())
        for expression in sorted(wanted):
            cron_id = uuid5(version.workflow_id, f"{expression}/{self._now()}")
            self._tables.crons[(tenant_id, cron_id)] = CronRow(
                tenant_id,
                cron_id,
                version.workflow_id,
                definition.name,
                expression,
                None,
                Method.DECLARED,
                True,
                None,
                (definition.cron_input or "{}").encode(),
                b"{}",
                trace,
                self._now(),
                self._now(),
                self._now(),
            )

    def _settle(self, key: Key, until: datetime) -> None:
        row = self._tables.crons.get(key)
        if row is not None and row.enabled and row.settled_until < until:
            self._tables.crons[key] = replace(row, settled_until=until)

    # -- ScheduleLedger --------------------------------------------------------------------------------

    async def add_cron(self, tenant_id: TenantId, cron: NewCron) -> bool:
        """Unless it is there."""
        await asyncio.sleep(0)
        version = self._newest.get((tenant_id, cron.workflow))
        if version is None or any(
            row.workflow == cron.workflow and (row.expression, row.name) == (cron.expression, cron.name)
            for (owner, _), row in self._tables.crons.items()
            if owner == tenant_id
        ):
            return False
        self._tables.crons[(tenant_id, cron.id)] = CronRow(
            tenant_id,
            cron.id,
            version.workflow_id,
            cron.workflow,
            cron.expression,
            cron.name,
            Method.API,
            True,
            cron.priority,
            cron.input,
            cron.metadata,
            cron.trace,
            cron.at,
            cron.at,
            cron.at,
        )
        return True

    async def enable_cron(self, tenant_id: TenantId, cron_id: UUID, enabled: bool, at: datetime) -> bool:
        """Switch on or off."""
        await asyncio.sleep(0)
        row = self._tables.crons.get((tenant_id, cron_id))
        if row is None or row.enabled is enabled:
            return False
        until = row.settled_until
        if enabled and until < at:
            self._tables.skips.append(
                SkipRecord(tenant_id, cron_id, until + TICK, at, SkipReason.DISABLED, True)
            )
            until = at
        self._tables.crons[(tenant_id, cron_id)] = replace(
            row, enabled=enabled, settled_until=until, updated_at=at
        )
        return True

    async def delete_cron(self, tenant_id: TenantId, cron_id: UUID) -> bool:
        """Only of the API."""
        await asyncio.sleep(0)
        row = self._tables.crons.get((tenant_id, cron_id))
        if row is None or row.method is not Method.API:
            return False
        del self._tables.crons[(tenant_id, cron_id)]
        return True

    async def get_crons(self, keys: Sequence[Key]) -> list[CronRow]:
        """By key."""
        await asyncio.sleep(0)
        return [self._tables.crons[key] for key in keys if key in self._tables.crons]

    async def crons_of(self, tenant_id: TenantId, workflow_id: UUID) -> list[CronPlan]:
        """Of one workflow."""
        await asyncio.sleep(0)
        return [
            _plan(row)
            for row in self._tables.crons.values()
            if (row.tenant_id, row.workflow_id) == (tenant_id, workflow_id) and row.enabled
        ]

    async def load_crons(self) -> AsyncIterator[list[CronPlan]]:
        """All."""
        await asyncio.sleep(0)
        yield [_plan(row) for row in self._tables.crons.values() if row.enabled]

    async def count_crons(self, tenant_id: TenantId) -> int:
        """Of a tenant."""
        await asyncio.sleep(0)
        return sum(owner == tenant_id for owner, _ in self._tables.crons)

    async def add_scheduled(self, tenant_id: TenantId, new: NewScheduled) -> bool:
        """For a known workflow."""
        await asyncio.sleep(0)
        version = self._newest.get((tenant_id, new.workflow))
        if version is None:
            return False
        for run_id, at, index in new.runs:
            self._tables.scheduled[(tenant_id, run_id)] = ScheduledRow(
                tenant_id,
                run_id,
                version.workflow_id,
                new.workflow,
                at,
                new.priority,
                new.input,
                new.metadata,
                new.trace,
                new.parent_run_id,
                new.parent_task_id,
                index,
                new.child_key,
                None,
                None,
                None,
                new.at,
                new.at,
            )
        return True

    async def move_scheduled(
        self, tenant_id: TenantId, moves: Sequence[tuple[UUID, datetime]], at: datetime
    ) -> set[UUID]:
        """Those that wait."""
        await asyncio.sleep(0)
        moved = set()
        for one, wanted in moves:
            row = self._tables.scheduled.get((tenant_id, one))
            if row is not None and row.settled_at is None:
                self._tables.scheduled[(tenant_id, one)] = replace(row, trigger_at=wanted, updated_at=at)
                moved.add(one)
        return moved

    async def delete_scheduled(self, tenant_id: TenantId, ids: Sequence[UUID]) -> set[UUID]:
        """Those that wait."""
        await asyncio.sleep(0)
        gone = {
            one
            for one in ids
            if (row := self._tables.scheduled.get((tenant_id, one))) is not None and row.settled_at is None
        }
        for one in gone:
            del self._tables.scheduled[(tenant_id, one)]
        return gone

    async def get_scheduled(self, keys: Sequence[Key]) -> list[ScheduledRow]:
        """By key."""
        await asyncio.sleep(0)
        return [self._tables.scheduled[key] for key in keys if key in self._tables.scheduled]

    async def plans_of(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[ScheduledPlan]:
        """Those that wait."""
        rows = await self.get_scheduled([(tenant_id, one) for one in ids])
        return [_planned(row) for row in rows if row.settled_at is None]

    async def load_scheduled(self, before: datetime) -> AsyncIterator[list[ScheduledPlan]]:
        """All that wait."""
        await asyncio.sleep(0)
        yield [
            _planned(row)
            for row in self._tables.scheduled.values()
            if row.settled_at is None and row.trigger_at < before
        ]

    async def count_scheduled(self, tenant_id: TenantId) -> int:
        """Of a tenant, those that wait."""
        await asyncio.sleep(0)
        return sum(
            owner == tenant_id and row.settled_at is None
            for (owner, _), row in self._tables.scheduled.items()
        )

    async def load_pauses(self) -> list[WorkflowPause]:
        """All."""
        await asyncio.sleep(0)
        return [WorkflowPause(*key, pause) for key, pause in self._tables.pauses.items()]

    async def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Pause | None:
        """Of one workflow."""
        await asyncio.sleep(0)
        return self._tables.pauses.get((tenant_id, workflow_id))

    async def pause_workflow(
        self, tenant_id: TenantId, workflow_id: UUID, pause: Pause, at: datetime
    ) -> bool:
        """Keeps the beginning of one that is paused."""
        await asyncio.sleep(0)
        if not self._known(tenant_id, workflow_id):
            return False
        before = self._tables.pauses.get((tenant_id, workflow_id)) or Pause()
        self._tables.pauses[(tenant_id, workflow_id)] = replace(
            pause, paused_at=before.paused_at or at, resumed_at=before.resumed_at
        )
        return True

    async def resume_workflow(self, tenant_id: TenantId, workflow_id: UUID, at: datetime) -> bool:
        """Notes when."""
        await asyncio.sleep(0)
        if not self._known(tenant_id, workflow_id):
            return False
        before = self._tables.pauses.get((tenant_id, workflow_id))
        if before is not None and before.active:
            self._tables.pauses[(tenant_id, workflow_id)] = replace(before, paused_at=None, resumed_at=at)
        return True

    async def delete_workflow(self, tenant_id: TenantId, workflow_id: UUID, at: datetime) -> str | None:
        """With its crons and planned runs."""
        await asyncio.sleep(0)
        for (owner, name), version in list(self._newest.items()):
            if owner == tenant_id and version.workflow_id == workflow_id:
                del self._newest[(owner, name)]
                for rows in (self._tables.crons, self._tables.scheduled):
                    for key in [k for k, row in rows.items() if row.workflow_id == workflow_id]:
                        del rows[key]
                return name
        return None

    def _known(self, tenant_id: TenantId, workflow_id: UUID) -> bool:
        return any(
            (version.tenant_id, version.workflow_id) == (tenant_id, workflow_id)
            for version in self._newest.values()
        )


def _plan(row: CronRow) -> CronPlan:
    return CronPlan(row.tenant_id, row.id, row.workflow_id, row.expression, row.settled_until)


def _planned(row: ScheduledRow) -> ScheduledPlan:
    return ScheduledPlan(row.tenant_id, row.id, row.workflow_id, row.trigger_at)
