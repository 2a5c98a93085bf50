"""A whole tenant in lines and numbers: logs, counts over time, what waits and what runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.naming import display_name
from broadaxe.domain.task import TaskState
from broadaxe.store.reads import Reads
from broadaxe.store.statistics_reads import TenantLogCriteria as TenantLogCriteria
from broadaxe.views.definitions import Definitions, definition_of, step_of
from broadaxe.views.model import LogView

MOST_POINTS = 60
_WIDTHS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800)
)


@dataclass(frozen=True, slots=True)
class LogPoint:
    """Log lines by level from a moment on, for one stretch of time."""

    at: datetime
    levels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskPoint:
    """Tasks that ended in one stretch of time."""

    at: datetime
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Backed:
    """Tasks that are not final."""

    queued: int = 0
    running: int = 0
    pending: int = 0
    """They wait for their next attempt."""

    def plus(self, state: TaskState, count: int) -> "Backed":
        """With so many more."""
        if state is TaskState.ASSIGNED:
            return Backed(self.queued, self.running + count, self.pending)
        if state is TaskState.DELAYED:
            return Backed(self.queued, self.running, self.pending + count)
        return Backed(self.queued + count, self.running, self.pending)


@dataclass(frozen=True, slots=True)
class QueueView:
    """The backlog of a tenant, by workflow, and what waits by action."""

    total: Backed
    workflows: dict[UUID, Backed]
    queues: dict[str, int]


def stretch(since: datetime, until: datetime) -> timedelta:
    """How long a stretch is, so that there are not too many of them."""
    span = until - since
    return next((width for width in _WIDTHS if span <= width * MOST_POINTS), span / MOST_POINTS)


def starts(since: datetime, until: datetime) -> list[datetime]:
    """Where each stretch begins."""
    width, at, found = stretch(since, until), since, []
    while at < until:
        found.append(at)
        at += width
    return found


class StatisticsViews:
    """The part of `Views` about a whole tenant."""

    def __init__(self, reads: Reads, definitions: Definitions) -> None:
        self._reads = reads
        self._definitions = definitions

    async def list_tenant_logs(
        self, tenant_id: TenantId, where: TenantLogCriteria, limit: int
    ) -> list[LogView]:
        lines = await self._reads.list_tenant_logs(tenant_id, where, limit)
        names = await self._names(tenant_id, {line.task_id for line in lines})
        return [
            LogView(
                task_id=line.task_id,
                task_name=names.get(line.task_id, str(line.task_id)),
                attempt=line.attempt,
                at=line.created_at,
                level=line.level,
                message=line.message,
                metadata=line.metadata,
            )
            for line in lines
        ]

    async def count_log_points(self, tenant_id: TenantId, where: TenantLogCriteria) -> list[LogPoint]:
        width = stretch(where.since, where.until)
        points = {at: LogPoint(at) for at in starts(where.since, where.until)}
        for at, level, count in await self._reads.count_log_points(tenant_id, where, width):
            points[at].levels[level] = count
        return list(points.values())

    async def count_task_points(
        self, tenant_id: TenantId, since: datetime, until: datetime
    ) -> list[TaskPoint]:
        points = {at: TaskPoint(at) for at in starts(since, until)}
        width = stretch(since, until)
        for at, completed, count in await self._reads.count_task_points(tenant_id, since, until, width):
            known = points[at]
            if completed:
                points[at] = TaskPoint(at, known.completed + count, known.failed)
            else:
                points[at] = TaskPoint(at, known.completed, known.failed + count)
        return list(points.values())

    async def get_backlog(
        self, tenant_id: TenantId, workflow_ids: Sequence[UUID], metadata: Sequence[tuple[str, str]]
    ) -> QueueView:
        live = await self._reads.count_workflow_live(tenant_id, workflow_ids, metadata)
        found = await self._definitions.load(tenant_id, (row.version_id for row in live))
        total, workflows, queues = Backed(), dict[UUID, Backed](), dict[str, int]()
        for row in live:
            total = total.plus(row.state, row.count)
            known = workflows.get(row.workflow_id, Backed())
            workflows[row.workflow_id] = known.plus(row.state, row.count)
            if row.state is not TaskState.ASSIGNED:
                action = step_of(definition_of(found, row.version_id), row.step_id).action
                queues[action] = queues.get(action, 0) + row.count
        return QueueView(total, workflows, queues)

    async def _names(self, tenant_id: TenantId, ids: set[UUID]) -> dict[UUID, str]:
        labels = await self._reads.get_labels(tenant_id, list(ids)) if ids else []
        found = await self._definitions.load(tenant_id, (label.version_id for label in labels))
        names = {}
        for label in labels:
            definition = definition_of(found, label.version_id)
            name = definition.name if label.step_id is None else step_of(definition, label.step_id).name
            names[label.id] = display_name(name, label.created_at)
        return names
