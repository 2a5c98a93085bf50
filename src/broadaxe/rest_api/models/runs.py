"""Runs, tasks, timelines, logs and their counts."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from broadaxe.rest_api.models.envelope import ABSENT, APIResourceMeta, JsonObject, PaginationResponse
from broadaxe.views.model import RunKind, RunStatus, TimelineKind

LogLevel = Literal["DEBUG", "INFO", "WARN", "ERROR"]


class V1TaskSummary(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A task, or a run of one task."""

    metadata: APIResourceMeta
    created_at: datetime
    display_name: str
    input: JsonObject
    num_spawned_children: int
    output: JsonObject
    status: RunStatus
    task_external_id: UUID
    task_id: int
    task_inserted_at: datetime
    tenant_id: UUID
    type: RunKind
    workflow_id: UUID
    workflow_run_external_id: UUID
    action_id: str | None = None
    additional_metadata: JsonObject | None = None
    attempt: int | None = None
    """`retryCount` + 1."""
    duration: int | None = None
    """Milliseconds."""
    error_message: str | None = None
    finished_at: datetime | None = None
    is_durable: bool | None = None
    is_evicted: bool | None = None
    parent_task_external_id: UUID | None = None
    retry_count: int | None = None
    started_at: datetime | None = None
    step_id: UUID | None = None
    workflow_name: str | None = None
    workflow_version_id: UUID | None = None
    children: "list[V1TaskSummary] | None" = None
    """The tasks of a run of several."""


class V1DagChildren(Struct, rename="camel"):
    """The tasks of one run of several tasks."""

    dag_id: UUID
    children: list[V1TaskSummary]


class V1TaskSummaryList(Struct):
    """A page of tasks or runs, newest first."""

    pagination: PaginationResponse
    rows: list[V1TaskSummary]


class V1WorkflowRun(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A run."""

    metadata: APIResourceMeta
    status: RunStatus
    tenant_id: UUID
    display_name: str
    workflow_id: UUID
    output: JsonObject
    input: JsonObject
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: int | None = None
    additional_metadata: JsonObject | None = None
    error_message: str | None = None
    workflow_version_id: UUID | None = None
    created_at: datetime | None = None
    parent_task_external_id: UUID | None = None


class V1TaskEvent(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A line of a timeline."""

    id: int
    task_id: UUID
    timestamp: datetime
    event_type: TimelineKind
    message: str
    error_message: str | None = None
    output: str | None = None
    worker_id: UUID | None = None
    task_display_name: str | None = None
    retry_count: int | None = None
    attempt: int | None = None


class V1TaskEventList(Struct):
    """A page of a timeline, newest first."""

    pagination: PaginationResponse
    rows: list[V1TaskEvent]


class WorkflowRunShapeItemForWorkflowRunDetails(Struct, rename="camel"):
    """A task's place in the graph of its run."""

    task_external_id: UUID
    step_id: UUID
    children_step_ids: list[UUID]
    task_name: str


class V1WorkflowRunDetails(Struct, rename="camel", omit_defaults=True):
    """A run with everything about it."""

    run: V1WorkflowRun
    task_events: list[V1TaskEvent]
    shape: list[WorkflowRunShapeItemForWorkflowRunDetails]
    tasks: list[V1TaskSummary]
    workflow_config: JsonObject | None = None


class V1TaskTiming(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """When a task waited and ran."""

    metadata: APIResourceMeta
    depth: int
    status: RunStatus
    task_display_name: str
    task_external_id: UUID
    task_id: int
    task_inserted_at: datetime
    tenant_id: UUID
    parent_task_external_id: UUID | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    workflow_run_id: UUID | None = None
    retry_count: int | None = None
    attempt: int | None = None


class V1TaskTimingList(Struct):
    """The timings of a run and what it spawned."""

    pagination: PaginationResponse
    rows: list[V1TaskTiming]


class V1WorkflowRunDisplayName(Struct, rename="camel"):
    """What a run is called."""

    metadata: APIResourceMeta
    display_name: str


class V1WorkflowRunDisplayNameList(Struct):
    """What runs are called."""

    pagination: PaginationResponse
    rows: list[V1WorkflowRunDisplayName]


class V1WorkflowRunCount(Struct):
    """How many runs match."""

    count: int


class V1RunningDetailCount(Struct, rename="camel"):
    """Of the running tasks, where they are."""

    evicted: int
    on_worker: int


class V1TaskRunMetric(Struct, rename="camel", omit_defaults=True):
    """Tasks in one status."""

    status: RunStatus
    count: int
    running_detail_count: V1RunningDetailCount | None = None


class V1LogLine(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A log line of a task."""

    created_at: datetime
    message: str
    metadata: JsonObject
    task_external_id: UUID | None = None
    task_display_name: str | None = None
    retry_count: int | None = None
    attempt: int | None = None
    level: LogLevel | None = None


class V1LogLineList(Struct, omit_defaults=True):
    """Log lines of a task."""

    rows: list[V1LogLine]
    pagination: PaginationResponse | None = None


class V1TaskFilter(Struct, rename="camel", kw_only=True):
    """Which tasks a bulk change is about."""

    since: datetime
    until: datetime | None = None
    statuses: list[RunStatus] | None = None
    workflow_ids: list[UUID] | None = None
    additional_metadata: list[str] | None = None
    """`key:value` pairs, joined by OR."""


Ids = Annotated[list[UUID], Meta(max_length=10_000)]


class V1CancelTaskRequest(Struct, rename="camel"):
    """Exactly one of the two."""

    external_ids: Ids | None = None
    filter: V1TaskFilter | None = None


class V1ReplayTaskRequest(Struct, rename="camel"):
    """Exactly one of the two."""

    external_ids: Ids | None = None
    filter: V1TaskFilter | None = None


class V1CancelledTasks(Struct):
    """The tasks whose cancellation was accepted."""

    ids: list[UUID]


class V1ReplayedTasks(Struct):
    """The tasks that run again."""

    ids: list[UUID]


class V1TriggerWorkflowRunRequest(Struct, rename="camel", kw_only=True):
    """A run to start."""

    workflow_name: str
    input: JsonObject
    additional_metadata: JsonObject = field(default_factory=lambda: ABSENT)
    priority: Annotated[int, Meta(ge=1, le=3)] | None = None
    return_only_id: bool = field(default=False, name="return_only_id")
    """Whether only `run.metadata` of the answer matters to the caller."""


class TriggerRunResult(Struct, rename="camel"):
    """The run that was started."""

    external_id: UUID
