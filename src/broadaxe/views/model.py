"""What the read side answers: plain values, without a wire type in them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

from broadaxe.domain.workflow import LabelValue, WorkflowDefinition

T = TypeVar("T")


class RunStatus(StrEnum):
    """How a run or a task stands, as readers see it."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class RunKind(StrEnum):
    """Whether a row is a run of several tasks or a single task."""

    DAG = "DAG"
    TASK = "TASK"


class TimelineKind(StrEnum):
    """What a line of a task's timeline tells."""

    CREATED = "CREATED"
    QUEUED = "QUEUED"
    ASSIGNED = "ASSIGNED"
    STARTED = "STARTED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    TIMED_OUT = "TIMED_OUT"
    SCHEDULING_TIMED_OUT = "SCHEDULING_TIMED_OUT"
    RETRYING = "RETRYING"
    REASSIGNED = "REASSIGNED"
    RETRIED_BY_USER = "RETRIED_BY_USER"
    SLOT_RELEASED = "SLOT_RELEASED"
    TIMEOUT_REFRESHED = "TIMEOUT_REFRESHED"
    COULD_NOT_SEND_TO_WORKER = "COULD_NOT_SEND_TO_WORKER"


class WorkerState(StrEnum):
    """Whether a worker takes tasks."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    PAUSED = "PAUSED"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. `total` is None when it was not asked for."""

    rows: list[T]
    offset: int
    limit: int
    total: int | None


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task, one of its attempts, or a run of several tasks, which has no step of its own.

    `attempt` counts from 0. Payloads are JSON texts, empty when absent.
    """

    tenant_id: UUID
    id: UUID
    run_id: UUID
    kind: RunKind
    number: int
    """A number for clients that want one; the same for the same id, below 2^53."""
    workflow_id: UUID
    workflow_name: str
    version_id: UUID
    step_id: UUID | None
    step_name: str
    action: str
    durable: bool
    display_name: str
    status: RunStatus
    attempt: int
    priority: int
    created_at: datetime
    changed_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    input: bytes
    output: bytes
    error: str | None
    metadata: bytes
    worker_id: UUID | None
    parent_task_id: UUID | None
    children: int
    tasks: "tuple[TaskView, ...]" = ()
    """Of a run of several: what it has so far, without payloads in lists."""

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from start to end, None before the end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0, round((self.finished_at - self.started_at).total_seconds() * 1000))


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of a timeline. `number` counts from 1 in order of time; `attempt` from 0."""

    number: int
    task_id: UUID
    kind: TimelineKind
    at: datetime
    attempt: int
    message: str
    task_name: str = ""
    error: str | None = None
    output: str | None = None
    worker_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ShapeItem:
    """A task's place in its run's graph."""

    task_id: UUID
    step_id: UUID
    child_step_ids: tuple[UUID, ...]
    name: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with everything that its page shows."""

    run: TaskView
    tasks: tuple[TaskView, ...]
    shape: tuple[ShapeItem, ...]
    timeline: tuple[TimelineEntry, ...]
    """Newest first."""
    definition: WorkflowDefinition


@dataclass(frozen=True, slots=True)
class TimingView:
    """When a task of a run, or of a run it spawned, waited and ran. `depth` is 0 for the run itself."""

    task: TaskView
    depth: int


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run's id and what it is called."""

    id: UUID
    display_name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LogView:
    """A log line. `metadata` is a JSON text."""

    task_id: UUID
    task_name: str
    attempt: int
    at: datetime
    level: str
    message: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class StateCount:
    """Tasks in one status."""

    status: RunStatus
    count: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Tasks of one name that wait or run."""

    total: int = 0
    queues: dict[str, int] = field(default_factory=dict)
    oldest: datetime | None = None
    oldest_first_attempt: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskStats:
    """What waits and what runs of one task name."""

    queued: Backlog | None
    running: Backlog | None


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version of a workflow. `number` counts from 1."""

    id: UUID
    workflow_id: UUID
    tenant_id: UUID
    number: int
    definition: WorkflowDefinition
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """A workflow; `versions` newest first (only the newest in lists)."""

    id: UUID
    tenant_id: UUID
    name: str
    created_at: datetime
    versions: tuple[VersionView, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class SlotView:
    """Units of one slot type."""

    limit: int
    available: int


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker."""

    id: UUID
    tenant_id: UUID
    name: str
    state: WorkerState
    actions: tuple[str, ...]
    slots: dict[str, SlotView]
    labels: dict[str, LabelValue]
    runtime: dict[str, str]
    registered_at: datetime
    last_heartbeat_at: datetime | None
    listening_since: datetime | None


@dataclass(frozen=True, slots=True)
class FleetView:
    """A tenant's workers with an open session, counted."""

    slots: dict[str, SlotView]
    """Units of all of them, by slot type."""
    runtimes: tuple[dict[str, str], ...]
    """What each runs on."""


@dataclass(frozen=True, slots=True)
class TenantView:
    """A tenant as people know it."""

    id: UUID
    name: str
    slug: str
    created_at: datetime
    updated_at: datetime
