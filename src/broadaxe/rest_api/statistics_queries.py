"""The query parameters of the routes about a whole tenant."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from broadaxe.rest_api.models.runs import LogLevel
from broadaxe.rest_api.queries import Direction, LongLimit
from broadaxe.views.statistics import TenantLogCriteria

Attempt = Annotated[int, Meta(ge=1, le=2_147_483_647)]
Ids = Annotated[list[UUID], Meta(max_length=1_000)]


class LogPointQuery(Struct, kw_only=True):
    """Which log lines of a tenant."""

    since: datetime | None = None
    until: datetime | None = None
    search: Annotated[str, Meta(max_length=1_000)] | None = None
    levels: list[LogLevel] = field(default_factory=list)
    task_external_ids: Ids = field(default_factory=list, name="taskExternalIds")
    workflow_ids: Ids = field(default_factory=list)
    step_ids: Ids = field(default_factory=list)

    def to_criteria(self, since: datetime, until: datetime) -> TenantLogCriteria:
        """The read side's filter, for this time."""
        return TenantLogCriteria(
            since=since,
            until=until,
            levels=tuple(self.levels),
            search=self.search or None,
            task_ids=tuple(self.task_external_ids),
            workflow_ids=tuple(self.workflow_ids),
            step_ids=tuple(self.step_ids),
        )


class TenantLogQuery(LogPointQuery, kw_only=True):
    """A page of log lines of a tenant."""

    limit: LongLimit = 1_000
    order_by_direction: Direction = "DESC"
    attempt: Attempt | None = None

    def to_criteria(self, since: datetime, until: datetime) -> TenantLogCriteria:
        """The read side's filter, for this time."""
        return replace(
            super().to_criteria(since, until),
            attempt=None if self.attempt is None else self.attempt - 1,
            newest_first=self.order_by_direction.upper() == "DESC",
        )


class TaskPointQuery(Struct, kw_only=True, rename="camel"):
    """Which ended tasks."""

    created_after: datetime | None = None
    finished_before: datetime | None = None


class QueueMetricsQuery(Struct, kw_only=True, rename="camel"):
    """Which tasks; pairs are joined by OR."""

    workflows: Ids = field(default_factory=list)
    additional_metadata: list[str] = field(default_factory=list)


class RunsMetricsQuery(Struct, kw_only=True, rename="camel"):
    """Which runs; pairs are joined by OR."""

    event_id: UUID | None = None
    workflow_id: UUID | None = None
    parent_step_run_id: UUID | None = None
    additional_metadata: list[str] = field(default_factory=list)
    created_after: datetime | None = None
    created_before: datetime | None = None


class WorkflowMetricsQuery(Struct, kw_only=True, rename="camel"):
    """Which runs of the workflow."""

    status: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "QUEUED", "BACKOFF"] | None = (
        None
    )
    group_key: Annotated[str, Meta(max_length=1_000)] | None = None
