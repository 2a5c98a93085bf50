"""What the API rooms may ask of the engine: one Protocol, and the values that cross it.

Nothing here is a wire type. Errors are those of `broadaxe.domain.errors`; each method says which.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import Protocol
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.idempotency import KeyClaim
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.task import TaskFilter, TaskState
from broadaxe.domain.user_event import UserEvent
from broadaxe.domain.workflow import LabelRequest, LabelValue, WorkflowDefinition, WorkflowVersion
from broadaxe.engine.filters import Filters
from broadaxe.engine.origin import Origin as Origin
from broadaxe.engine.schedules.requests import ScheduleRequests
from broadaxe.telemetry.context import TraceContext


@dataclass(frozen=True, slots=True)
class EventCause:
    """The user event that starts a run."""

    place: TraceContext
    """The event's span, under which the run hangs."""
    filter_id: UUID | None
    triggers: bytes | None
    """For the worker: a JSON object with the filter's payload; None when there is none."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A request for one run. JSON texts are bytes, kept as they are."""

    workflow: str
    input: bytes
    """A JSON object."""
    metadata: bytes | None = None
    """A JSON object or nothing."""
    priority: int | None = None
    parent_run_id: UUID | None = None
    parent_task_id: UUID | None = None
    child_index: int | None = None
    child_key: str | None = None
    desired_worker_id: UUID | None = None
    desired_labels: tuple[LabelRequest, ...] | None = None
    key: KeyClaim | None = None
    """The engine's own: the idempotency key that it worked out."""
    cause: EventCause | None = None
    """The engine's own: the event that it answers."""


@dataclass(frozen=True, slots=True)
class NewLogLine:
    """A line that a task wrote."""

    task_id: UUID
    at: datetime
    level: str | None
    """None is INFO."""
    message: str
    metadata: bytes = b""
    """A JSON object or nothing."""
    attempt: int | None = None
    """None: the attempt that runs."""


@dataclass(frozen=True, slots=True)
class NewUserEvent:
    """An event that is pushed. JSON texts are bytes, kept as they are."""

    key: str
    payload: bytes
    """A JSON object."""
    metadata: bytes | None = None
    """A JSON object or nothing."""
    scope: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One event of a bulk that was not stored, by its place, and why."""

    index: int
    error: BroadaxeError


@dataclass(frozen=True, slots=True)
class NewWorker:
    """A worker that registers."""

    name: str
    actions: tuple[str, ...]
    slots: dict[str, int]
    """Type to units, `{"default": 100}` when the worker said nothing."""
    labels: dict[str, LabelValue]
    runtime: dict[str, str]


class ActionKind(IntEnum):
    """What a worker is told. Values are the wire's."""

    START = 0
    CANCEL = 1


@dataclass(frozen=True, slots=True)
class WorkerAction:
    """One message for a worker's session; `grpc_api` encodes it."""

    kind: ActionKind
    tenant_id: TenantId
    run_id: UUID
    task_id: UUID
    step_id: UUID
    step_name: str
    action: str
    attempt: int
    payload: bytes
    """JSON text for the worker; empty for a cancel."""
    metadata: bytes | None
    priority: int
    workflow_id: UUID
    version_id: UUID
    parent_task_id: UUID | None
    child_index: int | None
    child_key: str | None
    created_at: datetime


class EventKind(IntEnum):
    """What a worker reports. Values are the wire's."""

    STARTED = 1
    COMPLETED = 2
    FAILED = 3
    ACKNOWLEDGED = 4
    CANCELLED = 5


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """A report about one attempt. `attempt` None = whichever is live."""

    kind: EventKind
    task_id: UUID
    attempt: int | None
    payload: bytes
    should_not_retry: bool = False
    retry_after: float | None = None
    worker_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The end of one task. `error` is empty text for a cancelled one."""

    task_id: UUID
    step_name: str
    state: TaskState
    output: bytes | None
    error: bytes | None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """All tasks of a run are final."""

    run_id: UUID
    results: tuple[TaskResult, ...]


class RunEventKind(Enum):
    """What happened to a run that is watched."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STREAM = "stream"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One entry of a watched run. `hangup`: the last one."""

    kind: RunEventKind
    run_id: UUID
    task_id: UUID
    at: datetime
    attempt: int
    payload: bytes
    step_name: str = ""
    event_index: int | None = None
    hangup: bool = False


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """One task in `RunDetails`."""

    task_id: UUID
    step_name: str
    state: TaskState
    output: bytes | None
    error: bytes | None


@dataclass(frozen=True, slots=True)
class RunDetails:
    """The consistent view of a run."""

    run_id: UUID
    input: bytes
    metadata: bytes
    state: TaskState
    done: bool
    tasks: tuple[TaskDetail, ...]


class RunSubscription(Protocol):
    """A client's pooled wait for run results: add ids as they come, iterate over what finishes."""

    def add(self, run_id: UUID) -> None:
        """Watch a run; a finished one is answered at once, an unknown one never."""

    def __aiter__(self) -> AsyncIterator[RunFinished]: ...
    def close(self) -> None:
        """End the iteration."""


class WorkerSession(Protocol):
    """An open stream to a worker."""

    def __aiter__(self) -> AsyncIterator[WorkerAction]: ...
    def sent(self, action: WorkerAction, started_ns: int, ended_ns: int, size: int) -> None:
        """The transport wrote the message to the stream; times of the write for its span."""

    def close(self) -> None:
        """The client hung up, or the server drains."""


class Engine(Protocol):
    """The engine. Every call carries the tenant of the caller's token."""

    @property
    def ready(self) -> bool:
        """Whether this process owns the scheduling and takes work."""

    @property
    def schedules(self) -> ScheduleRequests:
        """Crons, planned runs, pauses and deletions of workflows."""

    @property
    def filters(self) -> Filters:
        """Changes of event filters."""

    def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, origin: Origin
    ) -> Awaitable[WorkflowVersion]:
        """Register. InvalidArgument naming the field."""

    def trigger(self, tenant_id: TenantId, trigger: Trigger, origin: Origin) -> Awaitable[UUID]:
        """Start a run; its id. InvalidArgument, NotFound (unknown workflow, named), Unimplemented,
        AlreadyExists (its idempotency key is held; detail: `Collision`), ResourceExhausted, Unavailable."""

    def trigger_many(
        self, tenant_id: TenantId, triggers: Sequence[Trigger], origin: Origin
    ) -> Awaitable[list[UUID]]:
        """Start up to 1,000 runs, ids in order; one wrong item refuses all. AlreadyExists (detail:
        `BulkCollision`) when idempotency keys are held: the others did start."""

    def push_event(self, tenant_id: TenantId, event: NewUserEvent, origin: Origin) -> Awaitable[UserEvent]:
        """Store a user event with the runs it starts. InvalidArgument, ResourceExhausted, Unavailable."""

    def push_events(
        self, tenant_id: TenantId, events: Sequence[NewUserEvent], origin: Origin
    ) -> Awaitable[list[UserEvent | Refusal]]:
        """Store up to 1,000 events, answers in order; a wrong one is refused alone. InvalidArgument for a
        wrong number of them, Unavailable."""

    def register_worker(self, tenant_id: TenantId, worker: NewWorker) -> Awaitable[WorkerId]: ...
    def open_session(self, tenant_id: TenantId, worker_id: UUID) -> Awaitable[WorkerSession]:
        """A worker listens. NotFound."""

    def heartbeat(self, tenant_id: TenantId, worker_id: UUID) -> Awaitable[None]:
        """NotFound; FailedPrecondition when the worker had a session and has none now."""

    def unsubscribe(self, tenant_id: TenantId, worker_id: UUID) -> Awaitable[None]:
        """The worker leaves: its sessions end."""

    def upsert_labels(
        self, tenant_id: TenantId, worker_id: UUID, labels: dict[str, LabelValue]
    ) -> Awaitable[None]: ...

    def worker_event(self, tenant_id: TenantId, event: WorkerEvent, origin: Origin) -> Awaitable[None]:
        """A report; returns once committed. A stale one returns as if accepted. InvalidArgument for an
        unknown task."""

    def refresh_timeout(self, tenant_id: TenantId, task_id: UUID, seconds: float) -> Awaitable[datetime]:
        """The new deadline. NotFound when not running."""

    def release_slot(self, tenant_id: TenantId, task_id: UUID) -> Awaitable[None]:
        """NotFound when not running."""

    def subscribe_runs(self, tenant_id: TenantId, origin: Origin) -> RunSubscription: ...
    def watch_run(self, tenant_id: TenantId, run_id: UUID) -> Awaitable[AsyncIterator[RunEvent]]:
        """Events of one run until it ends. NotFound. Ends at once for a finished run."""

    def watch_metadata(self, tenant_id: TenantId, key: str, value: str) -> Awaitable[AsyncIterator[RunEvent]]:
        """Events of all runs with this metadata pair, until none is active."""

    def put_stream_event(
        self, tenant_id: TenantId, task_id: UUID, at: datetime, chunk: bytes, index: int | None
    ) -> Awaitable[None]:
        """Pass a chunk to those who watch. NotFound."""

    def put_log(self, tenant_id: TenantId, line: NewLogLine) -> Awaitable[None]:
        """Store a log line. NotFound, InvalidArgument."""

    def run_details(self, tenant_id: TenantId, run_or_task_id: UUID) -> Awaitable[RunDetails]:
        """Read-your-writes view. NotFound."""

    def cancel(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> Awaitable[list[UUID]]:
        """Cancel by ids or filter (not both); the ids affected. An acknowledged cancel is never followed by
        a completion."""

    def replay(
        self, tenant_id: TenantId, ids: Sequence[UUID], where: TaskFilter | None, origin: Origin
    ) -> Awaitable[list[UUID]]:
        """Run final tasks again; those that are not final are left out."""

    def worker_changed(self, tenant_id: TenantId, worker_id: UUID) -> Awaitable[None]:
        """A worker's row was changed elsewhere (paused, labels): read it again."""
