"""The query parameters of the routes: what they are called, what they may be, what they are when absent."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from broadaxe.rest_api.decoding import decode_pairs
from broadaxe.rest_api.models.runs import LogLevel
from broadaxe.rest_api.models.schedules import ScheduledRunStatus
from broadaxe.views.api import LogCriteria, RunFilter
from broadaxe.views.events import EventCriteria
from broadaxe.views.model import RunStatus, WorkerState
from broadaxe.views.presenting import states_of
from broadaxe.views.schedule_model import CronCriteria, CronOrder, ScheduledFilter, ScheduledOrder

Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Limit = Annotated[int, Meta(ge=1, le=1_000)]
LongLimit = Annotated[int, Meta(ge=1, le=10_000)]
RunningFilter = Literal["ALL", "EVICTED", "ON_WORKER"]
Operator = Literal["AND", "OR"]


def utc(at: datetime) -> datetime:
    """An aware time; one without a zone counts as UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class RunMatch(Struct, kw_only=True):
    """Which runs: the filter that lists, counts and bulk look-ups share."""

    since: datetime
    until: datetime | None = None
    statuses: list[RunStatus] = field(default_factory=list)
    workflow_ids: list[UUID] = field(default_factory=list)
    additional_metadata: list[str] = field(default_factory=list)
    additional_metadata_operator: Operator = "OR"
    worker_id: UUID | None = None
    parent_task_external_id: UUID | None = None
    triggering_event_external_id: UUID | None = None
    running_filter: RunningFilter = "ALL"
    idempotency_keys: list[str] = field(default_factory=list)

    def to_filter(self) -> RunFilter:
        """The read side's filter."""
        return RunFilter(
            since=utc(self.since),
            until=None if self.until is None else utc(self.until),
            statuses=tuple(self.statuses),
            workflow_ids=tuple(self.workflow_ids),
            worker_id=self.worker_id,
            metadata=decode_pairs("additional_metadata", self.additional_metadata),
            match_all=self.additional_metadata_operator == "AND",
            parent_task_id=self.parent_task_external_id,
            event_id=self.triggering_event_external_id,
            # No task is ever evicted and no run carries a key before those features are there.
            nothing=self.running_filter == "EVICTED" or bool(self.idempotency_keys),
        )


class RunListQuery(RunMatch, kw_only=True):
    """A page of runs."""

    only_tasks: bool
    offset: Offset = 0
    limit: Limit = 50
    include_payloads: bool = True
    include_num_pages: bool = True


class RunCountQuery(RunMatch, kw_only=True):
    """A number of runs."""

    only_tasks: bool = False


class DisplayNamesQuery(Struct):
    """Which runs to name."""

    external_ids: Annotated[list[UUID], Meta(max_length=1_000)]


class DagTasksQuery(Struct):
    """Whose tasks."""

    dag_ids: Annotated[list[UUID], Meta(max_length=1_000)]
    tenant: UUID


class PageQuery(Struct):
    """A page of a timeline."""

    offset: Offset = 0
    limit: LongLimit = 1_000


class TimingsQuery(Struct):
    """How far down to look for spawned runs."""

    depth: Annotated[int, Meta(ge=0, le=10)] = 0


class TaskQuery(Struct):
    """Which attempt, counted from 1; the newest unless said otherwise."""

    attempt: Annotated[int, Meta(ge=1, le=2_147_483_647)] | None = None


class LogQuery(Struct, kw_only=True):
    """Which log lines of a task."""

    limit: LongLimit = 1_000
    since: datetime | None = None
    until: datetime | None = None
    search: Annotated[str, Meta(max_length=1_000)] | None = None
    levels: list[LogLevel] = field(default_factory=list)
    order_by_direction: Literal["ASC", "DESC", "asc", "desc"] = "ASC"
    attempt: Annotated[int, Meta(ge=1, le=2_147_483_647)] | None = None

    def to_criteria(self) -> LogCriteria:
        """The read side's filter."""
        return LogCriteria(
            since=None if self.since is None else utc(self.since),
            until=None if self.until is None else utc(self.until),
            levels=tuple(self.levels),
            search=self.search or None,
            attempt=None if self.attempt is None else self.attempt - 1,
            newest_first=self.order_by_direction.upper() == "DESC",
        )


class EventListQuery(Struct, rename="camel", kw_only=True):
    """A page of events. Pairs of metadata must all be there."""

    offset: Offset = 0
    limit: Limit = 50
    keys: Annotated[list[str], Meta(max_length=1_000)] = field(default_factory=list)
    since: datetime | None = None
    until: datetime | None = None
    workflow_ids: Annotated[list[UUID], Meta(max_length=1_000)] = field(default_factory=list)
    workflow_run_statuses: list[RunStatus] = field(default_factory=list)
    event_ids: Annotated[list[UUID], Meta(max_length=1_000)] = field(default_factory=list)
    additional_metadata: list[str] = field(default_factory=list)
    scopes: Annotated[list[str], Meta(max_length=1_000)] = field(default_factory=list)

    def to_criteria(self) -> EventCriteria:
        """The read side's filter."""
        return EventCriteria(
            since=None if self.since is None else utc(self.since),
            until=None if self.until is None else utc(self.until),
            keys=tuple(self.keys),
            ids=tuple(self.event_ids),
            scopes=tuple(self.scopes),
            metadata=decode_pairs("additionalMetadata", self.additional_metadata),
            workflow_ids=tuple(self.workflow_ids),
            states=states_of(tuple(self.workflow_run_statuses)),
        )


class FilterListQuery(Struct, rename="camel", kw_only=True):
    """A page of filters; the n-th workflow goes with the n-th scope."""

    offset: Offset = 0
    limit: Limit = 50
    workflow_ids: Annotated[list[UUID], Meta(max_length=1_000)] = field(default_factory=list)
    scopes: Annotated[list[str], Meta(max_length=1_000)] = field(default_factory=list)


class WorkflowListQuery(Struct):
    """A page of workflows; `name` is a part of the name."""

    offset: Offset = 0
    limit: Limit = 50
    name: Annotated[str, Meta(max_length=1_000)] | None = None


class VersionQuery(Struct):
    """Which version; the newest unless said otherwise."""

    version: UUID | None = None


class WorkerListQuery(Struct):
    """A page of workers; `labels` are `key:value` and must all be there."""

    offset: Offset = 0
    limit: Limit = 200
    statuses: list[WorkerState] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


class TaskStatsQuery(Struct, rename="camel"):
    """Only these task names; all unless said otherwise."""

    task_names: list[str] = field(default_factory=list)


Direction = Literal["ASC", "DESC", "asc", "desc"]
Text = Annotated[str, Meta(max_length=1_000)]


class CronListQuery(Struct, kw_only=True, rename="camel"):
    """A page of crons."""

    offset: Offset = 0
    limit: Limit = 50
    workflow_id: UUID | None = None
    workflow_name: Text | None = None
    cron_name: Text | None = None
    additional_metadata: list[str] = field(default_factory=list)
    order_by_field: CronOrder = CronOrder.CREATED
    order_by_direction: Direction = "DESC"

    @property
    def order(self) -> CronOrder:
        """What the page is ordered by."""
        return self.order_by_field

    @property
    def newest_first(self) -> bool:
        """Whether the last come first."""
        return self.order_by_direction.upper() == "DESC"

    def to_filter(self) -> CronCriteria:
        """The read side's filter."""
        return CronCriteria(
            workflow_id=self.workflow_id,
            workflow=self.workflow_name or None,
            name=self.cron_name or None,
            metadata=decode_pairs("additionalMetadata", self.additional_metadata),
        )


_RUN_STATUSES: dict[str, RunStatus] = {
    "PENDING": RunStatus.QUEUED,
    "QUEUED": RunStatus.QUEUED,
    "RUNNING": RunStatus.RUNNING,
    "SUCCEEDED": RunStatus.COMPLETED,
    "FAILED": RunStatus.FAILED,
    "CANCELLED": RunStatus.CANCELLED,
}


class ScheduledListQuery(Struct, kw_only=True, rename="camel"):
    """A page of planned runs."""

    offset: Offset = 0
    limit: Limit = 50
    workflow_id: UUID | None = None
    parent_workflow_run_id: UUID | None = None
    parent_step_run_id: UUID | None = None
    additional_metadata: list[str] = field(default_factory=list)
    statuses: list[ScheduledRunStatus] = field(default_factory=list)
    order_by_field: ScheduledOrder = ScheduledOrder.TRIGGER
    order_by_direction: Direction = "DESC"

    @property
    def order(self) -> ScheduledOrder:
        """What the page is ordered by."""
        return self.order_by_field

    @property
    def newest_first(self) -> bool:
        """Whether the last come first."""
        return self.order_by_direction.upper() == "DESC"

    def to_filter(self) -> ScheduledFilter:
        """The read side's filter."""
        statuses = {_RUN_STATUSES[status] for status in self.statuses if status in _RUN_STATUSES}
        return ScheduledFilter(
            workflow_id=self.workflow_id,
            parent_run_id=self.parent_workflow_run_id,
            parent_task_id=self.parent_step_run_id,
            metadata=decode_pairs("additionalMetadata", self.additional_metadata),
            statuses=tuple(sorted(statuses)),
            waiting="SCHEDULED" in self.statuses,
        )
