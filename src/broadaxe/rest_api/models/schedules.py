"""Crons, planned runs, and what pauses a workflow."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from broadaxe.rest_api.models.envelope import ABSENT, APIResourceMeta, JsonObject, PaginationResponse

WorkflowMethod = Literal["DEFAULT", "API"]
WorkflowRunStatus = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "QUEUED"]
ScheduledRunStatus = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "QUEUED", "SCHEDULED"]
QueueBehavior = Literal["DROP", "QUEUE"]
Priority = Annotated[int, Meta(ge=1, le=3)]


class CronWorkflows(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A cron."""

    metadata: APIResourceMeta
    tenant_id: UUID
    workflow_version_id: UUID
    workflow_id: UUID
    workflow_name: str
    cron: str
    enabled: bool
    method: WorkflowMethod
    name: str | None = None
    input: JsonObject | None = None
    additional_metadata: JsonObject | None = None
    priority: int | None = None


class CronWorkflowsList(Struct):
    """A page of crons."""

    rows: list[CronWorkflows]
    pagination: PaginationResponse


class CreateCronWorkflowTriggerRequest(Struct, rename="camel", kw_only=True):
    """A cron to be made."""

    input: JsonObject
    cron_name: str
    cron_expression: str
    additional_metadata: JsonObject = field(default_factory=lambda: ABSENT)
    priority: Priority | None = None


class UpdateCronWorkflowTriggerRequest(Struct):
    """Whether the cron is on; without it nothing changes."""

    enabled: bool | None = None


class ScheduledWorkflows(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A planned run."""

    metadata: APIResourceMeta
    tenant_id: UUID
    workflow_version_id: UUID
    workflow_id: UUID
    workflow_name: str
    trigger_at: datetime
    method: WorkflowMethod
    input: JsonObject | None = None
    additional_metadata: JsonObject | None = None
    workflow_run_created_at: datetime | None = None
    workflow_run_name: str | None = None
    workflow_run_status: WorkflowRunStatus | None = None
    workflow_run_id: UUID | None = None
    priority: int | None = None


class ScheduledWorkflowsList(Struct):
    """A page of planned runs."""

    rows: list[ScheduledWorkflows]
    pagination: PaginationResponse


class ScheduleWorkflowRunRequest(Struct, rename="camel", kw_only=True):
    """A run to be planned."""

    input: JsonObject
    trigger_at: datetime
    additional_metadata: JsonObject = field(default_factory=lambda: ABSENT)
    priority: Priority | None = None


class UpdateScheduledWorkflowRunRequest(Struct, rename="camel"):
    """Another time."""

    trigger_at: datetime


class ScheduledWorkflowsBulkDeleteFilter(Struct, rename="camel", kw_only=True):
    """Which planned runs."""

    workflow_id: UUID | None = None
    parent_workflow_run_id: UUID | None = None
    parent_step_run_id: UUID | None = None
    additional_metadata: list[str] | None = None
    """`key:value` pairs that must all be there."""


class ScheduledWorkflowsBulkDeleteRequest(Struct, rename="camel", kw_only=True):
    """Exactly one of the two."""

    scheduled_workflow_run_ids: Annotated[list[UUID], Meta(min_length=1, max_length=500)] | None = None
    filter: ScheduledWorkflowsBulkDeleteFilter | None = None


class ScheduledWorkflowsBulkUpdateItem(Struct, rename="camel"):
    """Another time for one of them."""

    id: UUID
    trigger_at: datetime


class ScheduledWorkflowsBulkUpdateRequest(Struct):
    """Other times."""

    updates: Annotated[list[ScheduledWorkflowsBulkUpdateItem], Meta(min_length=1, max_length=500)]


class ScheduledWorkflowsBulkError(Struct, omit_defaults=True):
    """One that was left as it is."""

    error: str
    id: UUID | None = None


class ScheduledWorkflowsBulkDeleteResponse(Struct, rename="camel"):
    """What was deleted, and what was not."""

    deleted_ids: list[UUID]
    errors: list[ScheduledWorkflowsBulkError]


class ScheduledWorkflowsBulkUpdateResponse(Struct, rename="camel"):
    """What was changed, and what was not."""

    updated_ids: list[UUID]
    errors: list[ScheduledWorkflowsBulkError]


class PauseWorkflowRequest(Struct, kw_only=True):
    """Pause or resume. A pause says what becomes of what waits, and of what is due meanwhile."""

    action: Literal["pause", "unpause"]
    ttl: str | None = field(default=None, name="pausedWorkflowQueueTTL")
    """How long a run may wait because of the pause, such as `1d7h30m`; then it is cancelled."""
    crons: QueueBehavior = field(default="DROP", name="pausedWorkflowCronRunQueueBehavior")
    scheduled: QueueBehavior = field(default="DROP", name="pausedWorkflowScheduledRunQueueBehavior")


class WorkflowUpdateRequest(Struct):
    """What is to change; without it nothing does."""

    pause: PauseWorkflowRequest | None = None
