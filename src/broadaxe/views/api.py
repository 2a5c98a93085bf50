"""The read side as the API rooms see it: one Protocol, answered from rows on the primary.

An id that is not this tenant's is answered like one that does not exist: None, or left out.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.ids import TenantId
from broadaxe.domain.schedule import Pause
from broadaxe.store.reads import LogCriteria as LogCriteria
from broadaxe.views.events import EventCriteria, EventView
from broadaxe.views.model import (
    FleetView,
    LogView,
    NamedRun,
    Page,
    RunStatus,
    RunView,
    StateCount,
    TaskStats,
    TaskView,
    TenantView,
    TimelineEntry,
    TimingView,
    VersionView,
    WorkerState,
    WorkerView,
    WorkflowView,
)
from broadaxe.views.schedule_model import (
    CronCriteria,
    CronOrder,
    ListedCron,
    ScheduledFilter,
    ScheduledOrder,
    ScheduledView,
)
from broadaxe.views.statistics import LogPoint, QueueView, TaskPoint, TenantLogCriteria


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. Empty tuples and None ask for nothing."""

    since: datetime
    """Inclusive, in whole milliseconds."""
    until: datetime | None = None
    """Exclusive."""
    statuses: tuple[RunStatus, ...] = ()
    workflow_ids: tuple[UUID, ...] = ()
    worker_id: UUID | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    match_all: bool = False
    """Whether every pair of `metadata` must be there; else one is enough."""
    parent_task_id: UUID | None = None
    event_id: UUID | None = None
    nothing: bool = False
    """The filter asks for what cannot be there (evicted tasks, idempotency keys), so nothing matches."""


class Views(Protocol):
    """What can be read. `Unavailable` when the database is away."""

    def list_runs(
        self,
        tenant_id: TenantId,
        where: RunFilter,
        offset: int,
        limit: int,
        *,
        payloads: bool = True,
        total: bool = True,
        only_tasks: bool = False,
    ) -> Awaitable[Page[TaskView]]:
        """A page, newest first; `only_tasks`: of tasks, not of runs. `total=False` leaves out the count,
        which on a full page is a statement of its own.

        InvalidArgument when the page's payloads are too much for one answer.
        """

    def count_runs(
        self, tenant_id: TenantId, where: RunFilter, only_tasks: bool = False
    ) -> Awaitable[int]: ...
    def list_tasks_of(
        self, tenant_id: TenantId, run_ids: Sequence[UUID]
    ) -> Awaitable[dict[UUID, list[TaskView]]]:
        """The tasks of runs of several tasks, without payloads; only runs that are there."""

    def list_run_ids(self, tenant_id: TenantId, where: RunFilter) -> Awaitable[list[UUID]]:
        """All matching ids, newest first."""

    def count_by_status(self, tenant_id: TenantId, where: RunFilter) -> Awaitable[list[StateCount]]:
        """Every status, those without tasks too."""

    def get_run(
        self, tenant_id: TenantId, run_id: UUID, *, always: bool = False
    ) -> Awaitable[RunView | None]:
        """`always`: also one that sampling hides from readers."""

    def get_run_status(self, tenant_id: TenantId, run_id: UUID) -> Awaitable[RunStatus | None]: ...
    def get_run_timings(
        self, tenant_id: TenantId, run_id: UUID, depth: int
    ) -> Awaitable[list[TimingView] | None]:
        """The run's tasks and, `depth` levels down, those of the runs that they spawned."""

    def get_task(
        self, tenant_id: TenantId, task_id: UUID, attempt: int | None = None
    ) -> Awaitable[TaskView | None]:
        """The task, or what an earlier attempt (counted from 0) left; None for an attempt not there."""

    def get_timeline(self, tenant_id: TenantId, task_id: UUID) -> Awaitable[list[TimelineEntry] | None]:
        """Newest first. Takes a run's id too."""

    def get_display_names(self, tenant_id: TenantId, ids: Sequence[UUID]) -> Awaitable[list[NamedRun]]: ...
    def list_log_lines(
        self, tenant_id: TenantId, task_id: UUID, where: LogCriteria, offset: int, limit: int
    ) -> Awaitable[list[LogView] | None]: ...
    def get_task_stats(self, tenant_id: TenantId) -> Awaitable[dict[str, TaskStats]]:
        """By step name, only those with tasks that are not final."""

    def get_queue_depths(self, tenant_id: TenantId) -> Awaitable[dict[str, int]]:
        """Waiting tasks by action."""

    def list_workflows(
        self, tenant_id: TenantId, name: str | None, offset: int, limit: int
    ) -> Awaitable[Page[WorkflowView]]: ...
    def get_workflow(self, tenant_id: TenantId, workflow_id: UUID) -> Awaitable[WorkflowView | None]:
        """With its newest versions, at most 100."""

    def get_version(
        self, tenant_id: TenantId, workflow_id: UUID, version_id: UUID | None
    ) -> Awaitable[VersionView | None]:
        """A version, the newest unless said otherwise."""

    def list_workers(
        self,
        tenant_id: TenantId,
        states: tuple[WorkerState, ...],
        labels: tuple[tuple[str, str], ...],
        offset: int,
        limit: int,
    ) -> Awaitable[Page[WorkerView]]:
        """Newest first; `labels` must all be there."""

    def get_worker(self, tenant_id: TenantId, worker_id: UUID) -> Awaitable[WorkerView | None]: ...
    def list_events(
        self, tenant_id: TenantId, where: EventCriteria, offset: int, limit: int
    ) -> Awaitable[Page[EventView]]:
        """Newest first. InvalidArgument when the page's payloads are too much for one answer."""

    def get_event(self, tenant_id: TenantId, event_id: UUID) -> Awaitable[EventView | None]: ...
    def list_event_keys(self, tenant_id: TenantId) -> Awaitable[list[str]]:
        """The keys of the newest events, by name."""

    def list_filters(
        self, tenant_id: TenantId, pairs: Sequence[tuple[UUID | None, str | None]], offset: int, limit: int
    ) -> Awaitable[Page[EventFilter]]:
        """Oldest first; `pairs` of workflow and scope, one of which must fit (None fits everything)."""

    def get_filter(self, tenant_id: TenantId, filter_id: UUID) -> Awaitable[EventFilter | None]: ...
    def get_tenant(self, tenant_id: TenantId) -> Awaitable[TenantView | None]: ...
    def list_crons(
        self,
        tenant_id: TenantId,
        where: CronCriteria,
        order: CronOrder,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Awaitable[Page[ListedCron]]: ...
    def get_cron(self, tenant_id: TenantId, cron_id: UUID) -> Awaitable[ListedCron | None]: ...
    def list_scheduled(
        self,
        tenant_id: TenantId,
        where: ScheduledFilter,
        order: ScheduledOrder,
        newest_first: bool,
        offset: int,
        limit: int,
    ) -> Awaitable[Page[ScheduledView]]: ...
    def get_scheduled(self, tenant_id: TenantId, scheduled_id: UUID) -> Awaitable[ScheduledView | None]: ...
    def list_waiting(self, tenant_id: TenantId, where: ScheduledFilter, limit: int) -> Awaitable[list[UUID]]:
        """Ids of planned runs that wait, the earliest first; statuses do not matter."""

    def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Awaitable[Pause | None]:
        """How a workflow is paused, or was; None for an unknown one."""

    def list_tenant_logs(
        self, tenant_id: TenantId, where: TenantLogCriteria, limit: int
    ) -> Awaitable[list[LogView]]: ...
    def count_log_points(self, tenant_id: TenantId, where: TenantLogCriteria) -> Awaitable[list[LogPoint]]:
        """Every stretch of the time asked for, those without lines too."""

    def count_task_points(
        self, tenant_id: TenantId, since: datetime, until: datetime
    ) -> Awaitable[list[TaskPoint]]:
        """Of tasks made and ended in that time; every stretch, those without tasks too."""

    def get_backlog(
        self, tenant_id: TenantId, workflow_ids: Sequence[UUID], metadata: Sequence[tuple[str, str]]
    ) -> Awaitable[QueueView]:
        """Of these workflows (all if none is named), with one of these pairs."""

    def get_fleet(self, tenant_id: TenantId) -> Awaitable[FleetView]:
        """Workers that are connected, paused ones too."""

    def count_slots(self, tenant_id: TenantId, actions: Sequence[str]) -> Awaitable[tuple[int, int]]:
        """Free and all units of the active workers that have one of the actions."""
