"""Crons, planned runs and pauses, read."""

from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.naming import display_name
from broadaxe.domain.schedule import Pause
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
    CronOrder,
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
        where: CronCriteria,
        order: CronOrder,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Page[ListedCron]:
        rows = await self._schedules.list_crons(tenant_id, where, order, newest_first, offset, limit)
        total = offset + len(rows)
        if len(rows) == limit or (offset and not rows):
            total = await self._schedules.count_crons(tenant_id, where)
        return Page(rows, offset, limit, total)

    async def get_cron(self, tenant_id: TenantId, cron_id: UUID) -> ListedCron | None:
        page = await self.list_crons(tenant_id, CronCriteria(id=cron_id), CronOrder.CREATED, False, 0, 1)
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


def _scheduled(row: ListedScheduled) -> ScheduledView:
    created = row.run_created_at
    return ScheduledView(
        row,
        run_name=None if created is None else display_name(row.workflow_name, created),
        run_status=None if row.state is None else status_of(row.state),
    )
