"""Crons, planned runs and pauses, read."""

from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.naming import display_name
from broadaxe.domain.schedule import Method, Pause
from broadaxe.store.schedule_reads import (
    WAITING,
    CronCriteria,
    ListedCron,
    ListedScheduled,
    ScheduledCriteria,
    ScheduleReads,
)
from broadaxe.views.model import Page
from broadaxe.views.presenting import states_of, status_of
from broadaxe.views.schedule_model import (
    CronFilter,
    CronOrder,
    CronView,
    ScheduledFilter,
    ScheduledOrder,
    ScheduledView,
)


class ScheduleViews:
    """The part of `Views` that is about what starts by itself."""

    def __init__(self, schedules: ScheduleReads) -> None:
        self._schedules = schedules

    async def list_crons(
        self,
        tenant_id: TenantId,
        where: CronFilter,
        order: CronOrder,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Page[CronView]:
        criteria = CronCriteria(where.id, where.workflow_id, where.workflow, where.name, where.metadata)
        rows = await self._schedules.list_crons(tenant_id, criteria, order, newest_first, offset, limit)
        total = offset + len(rows)
        if len(rows) == limit or (offset and not rows):
            total = await self._schedules.count_crons(tenant_id, criteria)
        return Page([_cron(row) for row in rows], offset, limit, total)

    async def get_cron(self, tenant_id: TenantId, cron_id: UUID) -> CronView | None:
        page = await self.list_crons(tenant_id, CronFilter(id=cron_id), CronOrder.CREATED, False, 0, 1)
        return page.rows[0] if page.rows else None

    async def list_scheduled(
        self,
        tenant_id: TenantId,
        where: ScheduledFilter,
        order: ScheduledOrder,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Page[ScheduledView]:
        criteria = _criteria(where)
        rows = await self._schedules.list_scheduled(tenant_id, criteria, order, newest_first, offset, limit)
        total = offset + len(rows)
        if len(rows) == limit or (offset and not rows):
            total = await self._schedules.count_scheduled(tenant_id, criteria)
        return Page([_scheduled(row) for row in rows], offset, limit, total)

    async def get_scheduled(self, tenant_id: TenantId, scheduled_id: UUID) -> ScheduledView | None:
        where = ScheduledFilter(id=scheduled_id)
        page = await self.list_scheduled(tenant_id, where, ScheduledOrder.TRIGGER, False, 0, 1)
        return page.rows[0] if page.rows else None

    async def list_waiting(self, tenant_id: TenantId, where: ScheduledFilter, limit: int) -> list[UUID]:
        return await self._schedules.list_waiting(tenant_id, _criteria(where), limit)

    async def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Pause | None:
        return await self._schedules.get_pause(tenant_id, workflow_id)


def _criteria(where: ScheduledFilter) -> ScheduledCriteria:
    states = tuple(int(state) for state in states_of(where.statuses))
    return ScheduledCriteria(
        where.id,
        where.workflow_id,
        where.parent_run_id,
        where.parent_task_id,
        where.metadata,
        (*states, WAITING) if where.waiting else states,
    )


def _cron(row: ListedCron) -> CronView:
    return CronView(
        tenant_id=row.tenant_id,
        id=row.id,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow,
        version_id=row.version_id,
        expression=row.expression,
        name=row.name,
        declared=row.method is Method.DECLARED,
        enabled=row.enabled,
        priority=row.priority,
        input=row.input,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _scheduled(row: ListedScheduled) -> ScheduledView:
    created = row.run_created_at
    return ScheduledView(
        tenant_id=row.tenant_id,
        id=row.id,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow,
        version_id=row.version_id,
        trigger_at=row.trigger_at,
        priority=row.priority,
        input=row.input,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
        settled_at=row.settled_at,
        run_id=row.run_id,
        run_created_at=created,
        run_name=None if created is None else display_name(row.workflow, created),
        run_status=None if row.state is None else status_of(row.state),
    )
