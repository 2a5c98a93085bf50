"""A task: its immutable facts, the part that changes, and the events that change it.

A *task* is one step in one run. An *attempt* is one execution of it, numbered from 0; the number is
`retry_count` on the wire. All state lives in `TaskStatus`; `broadaxe.domain.transitions` holds the rules.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from broadaxe.domain.ids import RunId, StepId, TaskId, TenantId, VersionId, WorkerId, WorkflowId


class TaskState(IntEnum):
    """Where a task is. Values are stored; those of 10 and above are final."""

    QUEUED = 1
    """Waits for a free slot."""
    DELAYED = 2
    """Waits for the due time of its next attempt (`retry_at`)."""
    ASSIGNED = 3
    """Belongs to a worker: sent, or about to be."""
    PENDING = 4
    """A step that is run again and waits for its parents or its conditions to decide about it."""
    COMPLETED = 10
    FAILED = 11
    CANCELLED = 12

    @property
    def final(self) -> bool:
        """Whether the task can only change again by a manual replay."""
        return self >= TaskState.COMPLETED


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What never changes about a task. `input` and `metadata` are JSON texts, kept byte for byte."""

    tenant_id: TenantId
    id: TaskId
    run_id: RunId
    """Equals `id` for a workflow of one task without conditions."""
    workflow_id: WorkflowId
    version_id: VersionId
    step_id: StepId
    priority: int
    created_at: datetime
    input: bytes
    """Empty for a step of a run: the run has it."""
    metadata: bytes
    """A JSON object with the engine's own `hatchet__*` keys and `traceparent` added; never rewritten."""
    trace: bytes
    """Trace id (16), span id of the run's parent (8, zeros for none), flags (1: 1 = recorded)."""
    parent_task_id: UUID | None = None
    parent_run_id: UUID | None = None
    child_index: int | None = None
    child_key: str | None = None
    desired_worker_id: UUID | None = None
    desired_labels: bytes | None = None
    """Labels asked for at the trigger: JSON array of label requests, replaces the step's."""
    triggers: bytes | None = None
    """What started the task, for its worker: a JSON object, None for an empty one."""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What changes about a task. Each accepted event makes a new one."""

    state: TaskState
    attempt: int
    queued_at: datetime
    """When this attempt began to wait; the schedule time-out counts from here."""
    app_retries: int = 0
    internal_retries: int = 0
    worker_id: WorkerId | None = None
    assigned_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    timeout_at: datetime | None = None
    """Execution deadline; set at assignment, moved by RefreshTimeout."""
    slot_released: bool = False
    output: bytes | None = None
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that ended while its task goes on (retry, reassignment, replay): one row of history."""

    attempt: int
    outcome: "AttemptOutcome"
    queued_at: datetime
    assigned_at: datetime | None
    started_at: datetime | None
    ended_at: datetime
    worker_id: WorkerId | None
    output: bytes | None
    error: bytes | None


class AttemptOutcome(IntEnum):
    """How an attempt ended that was not the task's last. Values are stored."""

    FAILED = 1
    """The worker reported a failure and a retry is left."""
    TIMED_OUT = 2
    REASSIGNED = 3
    """Its worker was lost."""
    SEND_FAILED = 4
    """It could not be written to the worker's stream."""
    REPLAYED_COMPLETED = 5
    REPLAYED_FAILED = 6
    REPLAYED_CANCELLED = 7


class NoteKind(IntEnum):
    """Entries of a task's timeline that cannot be read off its columns. Values are stored."""

    TIMEOUT_REFRESHED = 1
    SLOT_RELEASED = 2
    RETRIED_BY_USER = 3
    RETRYING = 4
    REASSIGNED = 5
    COULD_NOT_SEND = 6
    SCHEDULING_TIMED_OUT = 7
    TIMED_OUT = 8
    CANCELLED = 9


@dataclass(frozen=True, slots=True)
class Note:
    """One such entry."""

    kind: NoteKind
    attempt: int
    at: datetime
    message: str


# --- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assigned:
    """A slot of this worker was taken for the task."""

    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class SendFailed:
    """The assignment could certainly not be written to a stream: same attempt, back to the queue."""


@dataclass(frozen=True, slots=True)
class Started:
    """The worker began."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The worker returned; `output` is its JSON text (empty = no output)."""

    attempt: int
    output: bytes
    met: frozenset[tuple[int, int]] = frozenset()
    """Of a step in a run: the conditions of the steps behind it that hold of the output (see `dag_graph`)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker raised; `error` is its text, kept byte for byte."""

    attempt: int
    error: bytes
    should_not_retry: bool = False
    retry_after: float | None = None
    """Seconds until the next attempt, instead of the back-off."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A caller, a rule or the worker cancels. `attempt` None means whichever is live."""

    attempt: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionTimedOut:
    """`timeout_at` passed."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ScheduleTimedOut:
    """No slot was found within the step's schedule time-out."""

    attempt: int


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker is dead, or it is in doubt whether it ever got the task."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class RetryDue:
    """`retry_at` passed."""

    attempt: int


@dataclass(frozen=True, slots=True)
class TimeoutRefreshed:
    """The worker asked for more time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SlotReleased:
    """The worker gave its slot back while it goes on."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A person or program runs a final task again."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Its run is run again from this step or from one before it: its parents decide about it anew."""


@dataclass(frozen=True, slots=True)
class Readied:
    """The parents and conditions of a step that was reset let it go."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """They skip it. `output` is what the steps behind it get."""

    output: bytes


@dataclass(frozen=True, slots=True)
class RuledOut:
    """They cancel it."""

    reason: str = ""


TaskEvent = (
    Assigned
    | SendFailed
    | Started
    | Completed
    | Failed
    | CancelRequested
    | ExecutionTimedOut
    | ScheduleTimedOut
    | WorkerLost
    | RetryDue
    | TimeoutRefreshed
    | SlotReleased
    | Replayed
    | Reset
    | Readied
    | PassedOver
    | RuledOut
)


# --- what a decision asks for --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendCancel:
    """Tell this worker to stop this attempt."""

    worker_id: WorkerId
    attempt: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of `transitions.decide`: the next status, and what must follow once it is committed."""

    status: TaskStatus
    record: AttemptRecord | None = None
    """The attempt that ended, when another follows."""
    notes: tuple[Note, ...] = ()
    cancel: SendCancel | None = None


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """The rules of a step that decide about its tasks. Times are seconds."""

    retries: int = 0
    backoff_factor: float | None = None
    backoff_max: float = 86_400.0
    timeout: float = 60.0
    schedule_timeout: float = 300.0
    max_internal_retries: int = 10


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a bulk cancel or replay is about."""

    since: datetime
    until: datetime | None = None
    states: tuple[TaskState, ...] = ()
    workflow_ids: tuple[UUID, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """Pairs joined by OR."""
