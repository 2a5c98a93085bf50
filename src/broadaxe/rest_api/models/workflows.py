"""Workflows and their versions."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from broadaxe.rest_api.models.envelope import APIResourceMeta, JsonObject, PaginationResponse
from broadaxe.rest_api.models.schedules import QueueBehavior

LimitStrategy = Literal["CANCEL_IN_PROGRESS", "DROP_NEWEST", "QUEUE_NEWEST", "GROUP_ROUND_ROBIN"]


class Step(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A step of a workflow."""

    metadata: APIResourceMeta
    readable_id: str
    tenant_id: UUID
    job_id: UUID
    action: str
    timeout: str | None = None
    is_durable: bool | None = None
    slot_requests: dict[str, int] | None = None
    children: list[UUID] | None = None
    parents: list[UUID] | None = None


class Job(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The steps of a version; a version has one such group, and one more for its on-failure step."""

    metadata: APIResourceMeta
    tenant_id: UUID
    version_id: UUID
    name: str
    steps: list[Step]
    description: str | None = None


class WorkflowVersionMeta(Struct, rename="camel"):
    """A version in a list."""

    metadata: APIResourceMeta
    version: str
    order: int
    workflow_id: UUID


class WorkflowTriggerEventRef(Struct, omit_defaults=True):
    """An event that starts the workflow."""

    parent_id: UUID | None = None
    event_key: str | None = None


class WorkflowTriggerCronRef(Struct, omit_defaults=True):
    """A schedule that starts the workflow."""

    parent_id: UUID | None = None
    cron: str | None = None


class WorkflowTriggers(Struct, omit_defaults=True, kw_only=True):
    """What starts the workflow besides a call."""

    metadata: APIResourceMeta | None = None
    workflow_version_id: UUID | None = None
    tenant_id: UUID | None = None
    events: list[WorkflowTriggerEventRef] | None = None
    crons: list[WorkflowTriggerCronRef] | None = None


class Workflow(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A workflow."""

    metadata: APIResourceMeta
    name: str
    tenant_id: UUID
    description: str | None = None
    is_paused: bool | None = None
    paused_workflow_cron_run_queue_behavior: QueueBehavior | None = None
    paused_workflow_scheduled_run_queue_behavior: QueueBehavior | None = None
    versions: list[WorkflowVersionMeta] | None = None
    jobs: list[Job] | None = None
    triggers: WorkflowTriggers | None = None


class WorkflowList(Struct):
    """A page of workflows, by name."""

    rows: list[Workflow]
    pagination: PaginationResponse


class ConcurrencySetting(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A concurrency strategy as registered."""

    max_runs: int
    limit_strategy: LimitStrategy
    expression: str
    scope: Literal["WORKFLOW", "TASK"]
    step_readable_id: str | None = None


class WorkflowVersion(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A version with its definition."""

    metadata: APIResourceMeta
    version: str
    order: int
    workflow_id: UUID
    sticky: Literal["SOFT", "HARD"] | None = None
    default_priority: int | None = None
    workflow: Workflow | None = None
    triggers: WorkflowTriggers | None = None
    jobs: list[Job] | None = None
    workflow_config: JsonObject | None = None
    v1_concurrency: list[ConcurrencySetting] | None = None
    input_json_schema: JsonObject | None = None
