"""What is asked of the database about crons, planned runs and pauses: one Protocol, and its rows.

Claims of due times are no calls of their own: they ride on the commit that creates the run (`NewTask.fire`),
or on one that notes what was skipped (`Ledger.record_skips`).
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId, WorkflowId
from broadaxe.domain.schedule import Method, Pause, SkipReason
from broadaxe.telemetry.context import TraceContext

NOBODY = UUID(int=0)
"""The answer for a run that was not created because its due time was claimed, moved or deleted before."""


@dataclass(frozen=True, slots=True)
class FireClaim:
    """The due time that a run is started for: one run a due time, whoever starts it."""

    source_id: UUID
    """The cron or the planned run."""
    due_at: datetime
    cron: bool
    """A cron's, else a planned run's."""


@dataclass(frozen=True, slots=True)
class SkipRecord:
    """Due times that get no run. Of a planned run there is but one, its `trigger_at`."""

    tenant_id: TenantId
    source_id: UUID
    first: datetime
    last: datetime
    reason: SkipReason
    cron: bool


@dataclass(frozen=True, slots=True)
class CronPlan:
    """When a cron fires."""

    tenant_id: TenantId
    id: UUID
    workflow_id: WorkflowId
    expression: str
    settled_until: datetime


@dataclass(frozen=True, slots=True)
class CronRow:
    """A cron."""

    tenant_id: TenantId
    id: UUID
    workflow_id: WorkflowId
    workflow: str
    expression: str
    name: str | None
    method: Method
    enabled: bool
    priority: int | None
    input: bytes
    metadata: bytes
    trace: TraceContext | None
    settled_until: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewCron:
    """A cron to be made through the API."""

    id: UUID
    workflow: str
    expression: str
    name: str
    priority: int | None
    input: bytes
    metadata: bytes
    trace: TraceContext | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ScheduledPlan:
    """When a planned run is due."""

    tenant_id: TenantId
    id: UUID
    workflow_id: WorkflowId
    trigger_at: datetime


@dataclass(frozen=True, slots=True)
class ScheduledRow:
    """A planned run."""

    tenant_id: TenantId
    id: UUID
    workflow_id: WorkflowId
    workflow: str
    trigger_at: datetime
    priority: int | None
    input: bytes
    metadata: bytes
    trace: TraceContext | None
    parent_run_id: UUID | None
    parent_task_id: UUID | None
    child_index: int | None
    child_key: str | None
    run_id: UUID | None
    settled_at: datetime | None
    """When it was dealt with; None while it waits."""
    skipped: SkipReason | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewScheduled:
    """Runs to be planned that differ in nothing but their time."""

    workflow: str
    runs: tuple[tuple[UUID, datetime, int | None], ...]
    """Id, time, child index."""
    priority: int | None
    input: bytes
    metadata: bytes
    trace: TraceContext | None
    at: datetime
    parent_run_id: UUID | None = None
    parent_task_id: UUID | None = None
    child_key: str | None = None


@dataclass(frozen=True, slots=True)
class WorkflowPause:
    """A workflow and how it is paused."""

    tenant_id: TenantId
    workflow_id: UUID
    pause: Pause


class ScheduleLedger(Protocol):
    """The operations. Each waits for its commit; `Unavailable` while the database is away."""

    def add_cron(self, tenant_id: TenantId, cron: NewCron) -> Awaitable[bool]:
        """False when the workflow has a cron of this expression and name, or is not there."""

    def enable_cron(self, tenant_id: TenantId, cron_id: UUID, enabled: bool, at: datetime) -> Awaitable[bool]:
        """Whether that changed anything."""

    def delete_cron(self, tenant_id: TenantId, cron_id: UUID) -> Awaitable[bool]:
        """Only one that was made through the API."""

    def get_crons(self, keys: Sequence[tuple[TenantId, UUID]]) -> Awaitable[list[CronRow]]: ...
    def crons_of(self, tenant_id: TenantId, workflow_id: UUID) -> Awaitable[list[CronPlan]]:
        """Those of a workflow that are on."""

    def load_crons(self) -> AsyncIterator[list[CronPlan]]:
        """All that are on, of all tenants, in pages."""

    def count_crons(self, tenant_id: TenantId) -> Awaitable[int]: ...
    def add_scheduled(self, tenant_id: TenantId, new: NewScheduled) -> Awaitable[bool]:
        """False for an unknown workflow."""

    def move_scheduled(
        self, tenant_id: TenantId, moves: Sequence[tuple[UUID, datetime]], at: datetime
    ) -> Awaitable[set[UUID]]:
        """The ids of those that still waited, and were given the new time."""

    def delete_scheduled(self, tenant_id: TenantId, ids: Sequence[UUID]) -> Awaitable[set[UUID]]:
        """The ids of those that still waited, and are gone."""

    def get_scheduled(self, keys: Sequence[tuple[TenantId, UUID]]) -> Awaitable[list[ScheduledRow]]: ...
    def plans_of(self, tenant_id: TenantId, ids: Sequence[UUID]) -> Awaitable[list[ScheduledPlan]]:
        """Those that wait."""

    def load_scheduled(self, before: datetime) -> AsyncIterator[list[ScheduledPlan]]:
        """All of all tenants that wait and are due before a moment, in pages."""

    def count_scheduled(self, tenant_id: TenantId) -> Awaitable[int]: ...
    def load_pauses(self) -> Awaitable[list[WorkflowPause]]:
        """Of all tenants."""

    def get_pause(self, tenant_id: TenantId, workflow_id: UUID) -> Awaitable[Pause | None]: ...
    def pause_workflow(
        self, tenant_id: TenantId, workflow_id: UUID, pause: Pause, at: datetime
    ) -> Awaitable[bool]:
        """False for an unknown workflow. One that is paused keeps its beginning."""

    def resume_workflow(self, tenant_id: TenantId, workflow_id: UUID, at: datetime) -> Awaitable[bool]: ...
    def delete_workflow(self, tenant_id: TenantId, workflow_id: UUID, at: datetime) -> Awaitable[str | None]:
        """Its name, None for an unknown one. Its crons and planned runs go with it."""
