"""Crons, planned runs and pauses on PostgreSQL: the `ScheduleLedger` contract over the pool."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.schedule import Method, Pause, PausedRuns, SkipReason
from broadaxe.store.connection import Database
from broadaxe.store.rows import columns_of, storable, trace_bytes, trace_of
from broadaxe.store.schedule_ledger import (
    CronPlan,
    CronRow,
    NewCron,
    NewScheduled,
    ScheduledPlan,
    ScheduledRow,
    WorkflowPause,
)
from broadaxe.store.session import Record
from broadaxe.store.statements import statement

_PAGE = 2_000
_PRUNED = 5_000
_FIRST_ID = UUID(int=0)
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


class ScheduleStore:
    """See `broadaxe.store.schedule_ledger.ScheduleLedger` for what each operation promises."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- crons -----------------------------------------------------------------------------------------

    async def add_cron(self, tenant_id: TenantId, cron: NewCron) -> bool:
        rows = await self._db.fetch(
            statement("cron_add"), tenant_id, cron.id, cron.workflow, cron.expression, cron.name, Method.API,
            cron.priority, cron.input, cron.metadata, trace_bytes(cron.trace), cron.at,
        )  # fmt: skip
        return bool(rows)

    async def enable_cron(self, tenant_id: TenantId, cron_id: UUID, enabled: bool, at: datetime) -> bool:
        return bool(await self._db.fetch(statement("cron_enable"), tenant_id, cron_id, enabled, at))

    async def delete_cron(self, tenant_id: TenantId, cron_id: UUID) -> bool:
        return bool(await self._db.fetch(statement("cron_delete"), tenant_id, cron_id))

    async def get_crons(self, keys: Sequence[tuple[TenantId, UUID]]) -> list[CronRow]:
        rows = await self._db.fetch(statement("cron_get_many"), *columns_of(keys, 2), batch=len(keys))
        return [cron_of(row) for row in rows]

    async def crons_of(self, tenant_id: TenantId, workflow_id: UUID) -> list[CronPlan]:
        rows = await self._db.fetch(statement("cron_plans"), tenant_id, workflow_id)
        return [CronPlan(*row) for row in rows]

    async def load_crons(self) -> AsyncIterator[list[CronPlan]]:
        last = (_FIRST_ID, _FIRST_ID)
        while True:
            rows = await self._db.fetch(statement("cron_load_page"), *last, _PAGE)
            if not rows:
                return
            last = (rows[-1][0], rows[-1][1])
            yield [CronPlan(*row) for row in rows]

    async def count_crons(self, tenant_id: TenantId) -> int:
        return int((await self._db.fetch(statement("cron_count"), tenant_id))[0][0])

    # -- planned runs ----------------------------------------------------------------------------------

    async def add_scheduled(self, tenant_id: TenantId, new: NewScheduled) -> bool:
        if not storable(new.workflow):
            return False
        ids, times, indexes = columns_of(new.runs, 3)
        rows = await self._db.fetch(
            statement("scheduled_add"), tenant_id, new.workflow, ids, times, new.priority, new.input,
            new.metadata, trace_bytes(new.trace), new.parent_run_id, new.parent_task_id, indexes,
            new.child_key, new.at,
        )  # fmt: skip
        return bool(rows)

    async def move_scheduled(
        self, tenant_id: TenantId, moves: Sequence[tuple[UUID, datetime]], at: datetime
    ) -> set[UUID]:
        # Sorted, so that two who move the same ones never wait for each other in a circle.
        rows = await self._db.fetch(
            statement("scheduled_move"), tenant_id, *columns_of(sorted(moves), 2), at, batch=len(moves)
        )
        return {row[0] for row in rows}

    async def delete_scheduled(self, tenant_id: TenantId, ids: Sequence[UUID]) -> set[UUID]:
        rows = await self._db.fetch(statement("scheduled_delete"), tenant_id, sorted(ids), batch=len(ids))
        return {row[0] for row in rows}

    async def get_scheduled(self, keys: Sequence[tuple[TenantId, UUID]]) -> list[ScheduledRow]:
        rows = await self._db.fetch(statement("scheduled_get_many"), *columns_of(keys, 2), batch=len(keys))
        return [scheduled_of(row) for row in rows]

    async def plans_of(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[ScheduledPlan]:
        rows = await self._db.fetch(statement("scheduled_plans"), tenant_id, list(ids))
        return [ScheduledPlan(*row) for row in rows]

    async def load_scheduled(self, before: datetime) -> AsyncIterator[list[ScheduledPlan]]:
        last: tuple[datetime, UUID] = (_BEGINNING, _FIRST_ID)
        while True:
            rows = await self._db.fetch(statement("scheduled_load"), before, *last, _PAGE)
            if not rows:
                return
            last = (rows[-1][3], rows[-1][1])
            yield [ScheduledPlan(*row) for row in rows]

    async def count_scheduled(self, tenant_id: TenantId) -> int:
        return int((await self._db.fetch(statement("scheduled_count"), tenant_id))[0][0])

    # -- workflows -------------------------------------------------------------------------------------

    async def load_pauses(self) -> list[WorkflowPause]:
        return [_pause_row(row) for row in await self._db.fetch(statement("pause_load"))]

    async def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Pause | None:
        rows = await self._db.fetch(statement("pause_get"), tenant_id, workflow_id)
        return _pause_row(rows[0]).pause if rows else None

    async def pause_workflow(
        self, tenant_id: TenantId, workflow_id: UUID, pause: Pause, at: datetime
    ) -> bool:
        rows = await self._db.fetch(
            statement("pause_set"), tenant_id, workflow_id, at, pause.ttl, pause.crons, pause.scheduled
        )
        return bool(rows)

    async def resume_workflow(self, tenant_id: TenantId, workflow_id: UUID, at: datetime) -> bool:
        return bool(await self._db.fetch(statement("pause_end"), tenant_id, workflow_id, at))

    async def delete_workflow(self, tenant_id: TenantId, workflow_id: UUID, at: datetime) -> str | None:
        rows = await self._db.fetch(statement("workflow_delete"), tenant_id, workflow_id, at)
        return rows[0][0] if rows else None

    # -- upkeep ----------------------------------------------------------------------------------------

    async def prune(self, before: datetime) -> None:
        """Delete what is known of due times before a moment."""
        for name in ("fire_prune", "scheduled_prune"):
            while len(await self._db.fetch(statement(name), before, _PRUNED)) == _PRUNED:
                continue


def cron_of(row: Record) -> CronRow:
    """A row of `cron_columns`."""
    return CronRow(
        tenant_id=row["tenant_id"],
        id=row["id"],
        workflow_id=row["workflow_id"],
        workflow=row["workflow_name"],
        expression=row["expression"],
        name=row["name"],
        method=Method(row["method"]),
        enabled=row["enabled"],
        priority=row["priority"],
        input=row["input"],
        metadata=row["metadata"],
        trace=trace_of(row["trace"]),
        settled_until=row["settled_until"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def scheduled_of(row: Record) -> ScheduledRow:
    """A row of `scheduled_columns`."""
    return ScheduledRow(
        tenant_id=row["tenant_id"],
        id=row["id"],
        workflow_id=row["workflow_id"],
        workflow=row["workflow_name"],
        trigger_at=row["trigger_at"],
        priority=row["priority"],
        input=row["input"],
        metadata=row["metadata"],
        trace=trace_of(row["trace"]),
        parent_run_id=row["parent_run_id"],
        parent_task_id=row["parent_task_id"],
        child_index=row["child_index"],
        child_key=row["child_key"],
        run_id=row["run_id"],
        settled_at=row["settled_at"],
        skipped=None if row["skipped"] is None else SkipReason(row["skipped"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _pause_row(row: Record) -> WorkflowPause:
    pause = Pause(
        paused_at=row["paused_at"],
        ttl=row["pause_ttl"],
        crons=PausedRuns(row["pause_crons"]),
        scheduled=PausedRuns(row["pause_scheduled"]),
        resumed_at=row["resumed_at"],
    )
    return WorkflowPause(row["tenant_id"], row["id"], pause)
