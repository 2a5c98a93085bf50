"""What the read side asks of the database: one Protocol, and the rows that cross it.

Queries only. Every call carries the tenant and has it in the key of its statement. Ids are UUIDv7, so a time
range is a range of ids and touches only the partitions of those days.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.ids import TenantId
from broadaxe.domain.run import RunEnd, RunFacts
from broadaxe.domain.task import AttemptRecord, Note, TaskFacts, TaskState, TaskStatus
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.store.event_reads import EventReads
from broadaxe.store.ledger import LogLine, WorkerRow
from broadaxe.store.schedule_reads import ScheduleReads
from broadaxe.store.statistics_reads import StatisticsReads


@dataclass(frozen=True, slots=True)
class TaskCriteria:
    """Which tasks a list or a count is about. Empty tuples and None ask for nothing."""

    since: datetime
    """Inclusive, in whole milliseconds."""
    until: datetime | None = None
    """Exclusive, in whole milliseconds."""
    states: tuple[TaskState, ...] = ()
    """As shown: a task that found no worker in time counts as FAILED, not as CANCELLED."""
    workflow_ids: tuple[UUID, ...] = ()
    worker_id: UUID | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    match_all: bool = False
    """Whether every pair of `metadata` must be there; else one is enough."""
    parent_task_id: UUID | None = None
    event_id: UUID | None = None
    """The event that triggered the run."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task with what lists show of its surroundings."""

    facts: TaskFacts
    status: TaskStatus
    unassigned: str | None = None
    """Why it ended, when no worker was found within its schedule time-out."""
    children: int = 0
    """Runs that it spawned."""


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """What happened to one task: ended attempts by number, notes by time."""

    attempts: tuple[AttemptRecord, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of several tasks."""

    facts: RunFacts
    end: RunEnd | None
    """None while it is not over."""


@dataclass(frozen=True, slots=True)
class TaskLabel:
    """What a task, or a run of several, is called by: its step and when it was made."""

    id: UUID
    version_id: UUID
    step_id: UUID | None
    """None for a run of several tasks."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LogCriteria:
    """Which log lines of a task. `levels` empty = all."""

    since: datetime | None = None
    until: datetime | None = None
    levels: tuple[str, ...] = ()
    search: str | None = None
    """Part of the message, case-insensitive."""
    attempt: int | None = None
    """Counted from 0."""
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class LiveCount:
    """How many tasks of a step are in a state that is not final, and since when the oldest waits."""

    version_id: UUID
    step_id: UUID
    state: TaskState
    count: int
    oldest: datetime
    oldest_first_attempt: datetime | None
    """The oldest that was not retried."""


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A workflow and its newest version."""

    id: UUID
    name: str
    created_at: datetime
    newest: WorkflowVersion
    paused: bool = False


@dataclass(frozen=True, slots=True)
class HeldSlots:
    """Tasks of one step that hold slots of a worker."""

    worker_id: UUID
    version_id: UUID
    step_id: UUID
    count: int


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant as people know it."""

    id: TenantId
    name: str
    slug: str
    created_at: datetime
    updated_at: datetime


class Reads(ScheduleReads, StatisticsReads, EventReads, Protocol):
    """The queries. `Unavailable` when the database is away; None or absence for what is not the tenant's."""

    kept_below: int | None
    """The threshold (see `domain.sampling`) under which runs are listed; None = all."""

    def list_tasks(
        self, tenant_id: TenantId, where: TaskCriteria, offset: int, limit: int, payload_bytes: int
    ) -> Awaitable[list[TaskRow]]:
        """A page, newest first. Inputs and outputs come along up to `payload_bytes` altogether (0: none are
        wanted); a page with more raises `InvalidArgument`."""

    def list_runs(
        self, tenant_id: TenantId, where: TaskCriteria, offset: int, limit: int, payload_bytes: int
    ) -> Awaitable[list[TaskRow | RunRow]]:
        """A page of runs, newest first; a run of one task is its task. Payloads as in `list_tasks`."""

    def count_runs(self, tenant_id: TenantId, where: TaskCriteria) -> Awaitable[int]: ...
    def list_run_ids(self, tenant_id: TenantId, where: TaskCriteria) -> Awaitable[list[UUID]]:
        """All ids, newest first."""

    def get_run(self, tenant_id: TenantId, run_id: UUID) -> Awaitable[RunRow | None]:
        """A run of several tasks."""

    def list_run_tasks(
        self, tenant_id: TenantId, run_ids: Sequence[UUID], outputs: bool
    ) -> Awaitable[list[TaskRow]]:
        """The tasks of runs of several, oldest first, at most 10,000, without inputs."""

    def get_histories(
        self, tenant_id: TenantId, task_ids: Sequence[UUID]
    ) -> Awaitable[dict[UUID, TaskHistory]]:
        """What happened to several tasks, at most 10,000 entries, without the outputs of attempts."""

    def count_tasks(self, tenant_id: TenantId, where: TaskCriteria) -> Awaitable[int]: ...
    def list_task_ids(self, tenant_id: TenantId, where: TaskCriteria) -> Awaitable[list[UUID]]:
        """All ids, newest first."""

    def count_states(
        self, tenant_id: TenantId, where: TaskCriteria
    ) -> Awaitable[list[tuple[TaskState, int]]]:
        """Tasks by state as shown."""

    def get_task(self, tenant_id: TenantId, task_id: UUID) -> Awaitable[TaskRow | None]: ...
    def get_history(self, tenant_id: TenantId, task_id: UUID) -> Awaitable[TaskHistory]: ...
    def list_children(self, tenant_id: TenantId, parents: Sequence[UUID]) -> Awaitable[list[TaskRow]]:
        """Tasks that these tasks spawned, oldest first, at most 10,000, without payloads."""

    def get_labels(self, tenant_id: TenantId, ids: Sequence[UUID]) -> Awaitable[list[TaskLabel]]: ...
    def list_log_lines(
        self, tenant_id: TenantId, task_id: UUID, where: LogCriteria, offset: int, limit: int
    ) -> Awaitable[list[LogLine]]: ...
    def count_live(self, tenant_id: TenantId) -> Awaitable[list[LiveCount]]: ...
    def list_workflows(
        self, tenant_id: TenantId, name: str | None, offset: int, limit: int
    ) -> Awaitable[list[WorkflowRow]]:
        """By name; `name` is a part of it, case-insensitive."""

    def count_workflows(self, tenant_id: TenantId, name: str | None) -> Awaitable[int]: ...
    def get_workflow(self, tenant_id: TenantId, workflow_id: UUID) -> Awaitable[WorkflowRow | None]: ...
    def list_versions(
        self, tenant_id: TenantId, workflow_id: UUID, limit: int
    ) -> Awaitable[list[WorkflowVersion]]:
        """Newest first."""

    def get_version(
        self, tenant_id: TenantId, workflow_id: UUID, version_id: UUID
    ) -> Awaitable[WorkflowVersion | None]: ...
    def get_versions(
        self, tenant_id: TenantId, version_ids: Sequence[UUID]
    ) -> Awaitable[list[WorkflowVersion]]: ...
    def list_workers(self, tenant_id: TenantId) -> Awaitable[list[WorkerRow]]:
        """Newest registration first, at most 10,000."""

    def get_worker(self, tenant_id: TenantId, worker_id: UUID) -> Awaitable[WorkerRow | None]: ...
    def count_held_slots(
        self, tenant_id: TenantId, worker_ids: Sequence[UUID]
    ) -> Awaitable[list[HeldSlots]]: ...
    def get_tenant(self, tenant_id: TenantId) -> Awaitable[TenantRow | None]: ...
