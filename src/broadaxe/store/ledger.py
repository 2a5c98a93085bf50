"""The ledger: the narrow contract between the engine and the database.

About thirty operations. Writes of tasks join the group commit: everything that waits while a commit is in
flight shares the next one, and no call returns before its commit is durable. Each write is compare-and-set
on (task, attempt, state) and reports whether it held; the caller acts only upon what held.

Errors: `Unavailable` when the database is away for longer than the caller's patience,
`ResourceExhausted` when too many bytes wait for it, `StoreError` for a single refused item
(its neighbours in the batch are committed), `Fenced` once another process owns the lease.
"""

from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.domain.fleet import Fleet
from broadaxe.domain.idempotency import KeyClaim
from broadaxe.domain.ids import EngineId, TaskId, TenantId, VersionId, WorkerId
from broadaxe.domain.task import AttemptRecord, Decision, Note, TaskFacts, TaskState, TaskStatus
from broadaxe.domain.task import TaskFilter as TaskFilter
from broadaxe.domain.workflow import LabelValue as LabelValue
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.domain.workflow import WorkflowVersion as WorkflowVersion
from broadaxe.store.event_ledger import EventLedger, NewEvent
from broadaxe.store.run_ledger import NewRun, RunLedger
from broadaxe.store.schedule_ledger import FireClaim, ScheduleLedger, SkipRecord
from broadaxe.telemetry.context import TraceContext


class StoreError(BroadaxeError):
    """One item was refused by the database; the message names the constraint or the type, never a value."""


class Fenced(Unavailable):
    """The lease belongs to another process: nothing this one decides is written any more."""


@dataclass(frozen=True, slots=True)
class ChildClaim:
    """The dedupe key of a spawned child: the first claim wins, later ones are given its run."""

    parent_task_id: UUID
    key: str
    """`child_key` if given, else the child index as text, prefixed so that the two never collide."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be created, already assigned if its status says so."""

    facts: TaskFacts
    status: TaskStatus
    claim: ChildClaim | None = None
    trace: TraceContext | None = None
    """Parent of this member's commit-wait span; None when unsampled."""
    fire: FireClaim | None = None
    """The due time it is started for."""
    key: KeyClaim | None = None
    """The idempotency key it takes."""
    notes: tuple[Note, ...] = ()
    """Only for steps of a run that come with a change of it."""
    messages: "tuple[Message, ...]" = ()
    """Left for other engines in the same commit, if the task is created."""


@dataclass(frozen=True, slots=True)
class TaskWrite:
    """A state change: holds only if the row still is in (`expect_attempt`, `expect_state`)."""

    tenant_id: TenantId
    task_id: TaskId
    expect_attempt: int
    expect_state: TaskState
    status: TaskStatus
    record: AttemptRecord | None = None
    notes: tuple[Note, ...] = ()
    trace: TraceContext | None = None
    frees_key_of: UUID | None = None
    """The run that ends with this change and frees its idempotency key."""
    expect: TaskStatus | None = None
    """When given, also the times and the slot must still be those: another engine may have changed them."""
    messages: "tuple[Message, ...]" = ()
    """Left for other engines in the same commit, if the compare held."""


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task as its row says."""

    facts: TaskFacts
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class TaskChange:
    """A change of rows that another engine may own: they are locked, read again, and judged as they are."""

    tenant_id: TenantId
    ids: tuple[UUID, ...]
    judge: "Callable[[StoredTask], Decision | None]"
    """What becomes of each; called in the order of the ids, maybe more than once. None leaves it alone."""
    freed: "Callable[[StoredTask, TaskStatus], UUID | None]" = lambda stored, status: None
    """The run whose idempotency key a task's new status frees."""
    trace: TraceContext | None = None
    """Where the commit-wait span and the message to the owner belong."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a row."""

    before: StoredTask
    decision: Decision | None
    """None: nothing was to be changed."""

    @property
    def status(self) -> TaskStatus:
        """The row's status now."""
        return self.before.status if self.decision is None else self.decision.status


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A registered worker."""

    tenant_id: TenantId
    id: WorkerId
    name: str
    actions: tuple[str, ...]
    slots: dict[str, int]
    labels: dict[str, LabelValue]
    runtime: dict[str, str]
    """sdk_version, language, language_version, os, extra: as far as known."""
    registered_at: datetime
    last_heartbeat_at: datetime | None = None
    listening_since: datetime | None = None
    """When the newest session was opened; None while there is none."""
    paused: bool = False
    engine_id: EngineId | None = None
    """The engine that holds its newest session."""


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt that ended while its task went on; its output is left out."""

    facts: TaskFacts
    record: AttemptRecord
    first_run: bool
    """Whether nobody had run the task again before this attempt."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log line of a task."""

    tenant_id: TenantId
    task_id: TaskId
    attempt: int
    created_at: datetime
    level: str
    message: str
    metadata: bytes


class MessageKind(IntEnum):
    """Messages between processes. Values are stored."""

    WORKER_CHANGED = 1
    """Pause, labels: the owner reads the worker's row again."""
    CANCEL = 2
    REPLAY = 3
    WORKFLOW_CHANGED = 4
    TOKEN_REVOKED = 5
    ROWS_CHANGED = 6
    """Another engine created or changed tasks of the owner's: it reads them again."""
    SESSION_OPENED = 7
    """A worker listens at another engine."""
    SESSION_CLOSED = 8
    WORKER_SILENT = 9
    """The engine where a worker listens has not heard of it."""
    WORKER_BEATS = 10
    """It is heard of again."""
    BEAT_ELSEWHERE = 11
    """For the engine of a worker's session: its heartbeat reached another engine."""
    SEND = 12
    """For the engine of a worker's session: send it what the row says."""
    STOP = 13
    """For the engine of a worker's session: tell it to stop an attempt."""
    END_SESSION = 14
    """For the engine of a worker's session: end it."""
    RUN_WANTED = 15
    """Another engine wants to hear when runs end."""
    RUN_ENDED = 16
    """For an engine that wanted to hear of it."""
    WATCH = 17
    """Another engine wants to hear what happens to a run."""
    WATCHED = 18
    """For that engine: what happened."""
    UNWATCH = 19
    SCHEDULES_CHANGED = 20
    """Crons of a workflow, planned runs, or how a workflow is paused: the owner reads them again."""
    CHUNK = 21
    """A chunk that a task streams reached another engine."""
    FILTERS_CHANGED = 30
    """Filters of events: every engine reads the tenant's again."""
    QUEUE_FULL = 31
    """The owner says whether a queue is full: every engine refuses triggers for it."""
    EVENT_DELIVERED = 31
    """A user event was pushed at another engine: who waits for it is with the owner."""


EVERYBODY = frozenset(
    {
        MessageKind.WORKFLOW_CHANGED,
        MessageKind.TOKEN_REVOKED,
        MessageKind.FILTERS_CHANGED,
        MessageKind.QUEUE_FULL,
    }
)
"""Kinds that go to every engine, since each has a cache of it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message for the engine that owns the tenant, or for the one that is named."""

    tenant_id: TenantId
    kind: MessageKind
    body: bytes
    """A JSON object."""
    trace: TraceContext | None = None
    engine_id: EngineId | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Ownership of the scheduling of every tenant in `partition`, fenced by `epoch`."""

    partition: int
    epoch: int
    previous_engine: EngineId | None = None
    spans_confirmed_until: datetime | None = None
    """Up to when the previous owner's spans had left it; later final tasks have theirs emitted again."""


@dataclass(slots=True)
class DatabaseState:
    """Whether the database can be reached now."""

    available: bool = False
    away_since: datetime | None = None
    listeners: list[Callable[[bool], None]] = field(default_factory=list)


class Ledger(RunLedger, Protocol):
    """The operations. `tenant_id` is in the key of each."""

    state: DatabaseState

    @property
    def events(self) -> EventLedger:
        """Subscriptions, filters, idempotency keys."""

    @property
    def schedules(self) -> ScheduleLedger:
        """Crons, planned runs, pauses."""

    # -- tasks: these join the group commit ----------------------------------------------------------
    def create_tasks(
        self,
        tasks: "Sequence[NewTask | NewRun]",
        *,
        patience: float | None,
        event: NewEvent | None = None,
    ) -> "Future[list[UUID]]":
        """Create tasks, and runs of several, and store the event that starts them. Resolves to one run id
        each: its own, or the one that already holds its claim, or the `KeyHolder` of its idempotency key, or
        `NOBODY` if its due time is not to be had; then nothing was created for it. `patience`: seconds to
        wait for an absent database; None = hold.
        """

    def write_task(self, write: TaskWrite, *, lazy: float | None = None) -> "Future[bool]":
        """Change a task's state; True if the compare held. `lazy`: seconds this write may wait for
        another commit to ride on before it causes one of its own."""

    def add_log_lines(self, lines: Sequence[LogLine], *, owned: bool = True) -> "Future[None]":
        """Store log lines. Not `owned`: those of a tenant that another engine may own."""

    # -- tasks that another engine may own: a commit of their own, and a message for the owner in it ----
    def create_elsewhere(
        self, tasks: "Sequence[NewTask | NewRun]", *, patience: float | None, event: NewEvent | None = None
    ) -> "Future[list[UUID]]":
        """Like `create_tasks`, whoever owns the tenant."""

    def change_elsewhere(self, change: TaskChange, *, lazy: float | None = None) -> "Future[list[Changed]]":
        """Lock rows, judge them as they are, write what follows; unknown ids are left out."""

    def record_skips(self, skips: Sequence[SkipRecord]) -> "Future[None]":
        """Note due times that get no run."""

    def post(self, messages: Sequence[Message]) -> "Future[None]":
        """Leave messages for the owners and wake them (NOTIFY from a transaction of its own)."""

    # -- tasks: reads of the primary ------------------------------------------------------------------
    def get_task(self, tenant_id: TenantId, task_id: UUID) -> "Awaitable[StoredTask | None]": ...
    def get_tasks(self, tenant_id: TenantId, ids: Sequence[UUID]) -> "Awaitable[list[StoredTask]]":
        """Tasks whose task id or run id is in `ids`."""

    def find_tasks(
        self, tenant_id: TenantId, where: TaskFilter, limit: int
    ) -> "Awaitable[list[tuple[TaskId, TaskState]]]":
        """Newest first."""

    def load_inputs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> "Awaitable[dict[UUID, bytes]]": ...

    # -- workflows ------------------------------------------------------------------------------------
    def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, trace: TraceContext | None = None
    ) -> "Awaitable[WorkflowVersion]":
        """Store a version with its crons (`trace`: where it was asked for), or return the newest if its
        checksum is the same. Safe under concurrency:
        two processes that register the same workflow at once both succeed and get one workflow id."""

    def latest_version(self, tenant_id: TenantId, name: str) -> "Awaitable[WorkflowVersion | None]": ...
    def get_version(
        self, tenant_id: TenantId, version_id: VersionId
    ) -> "Awaitable[WorkflowVersion | None]": ...

    # -- workers --------------------------------------------------------------------------------------
    def add_worker(self, worker: WorkerRow) -> "Awaitable[None]": ...
    def get_worker(self, tenant_id: TenantId, worker_id: WorkerId) -> "Awaitable[WorkerRow | None]": ...
    def set_session(
        self, tenant_id: TenantId, worker_id: WorkerId, opened_at: datetime, listening: bool
    ) -> "Awaitable[bool]":
        """Record that a session opened, or that the one opened at `opened_at` closed (only if newest)."""

    def put_labels(
        self, tenant_id: TenantId, worker_id: WorkerId, labels: dict[str, LabelValue]
    ) -> "Awaitable[dict[str, LabelValue] | None]":
        """Upsert by key; all labels afterwards, None for an unknown worker."""

    def set_paused(self, tenant_id: TenantId, worker_id: WorkerId, paused: bool) -> "Awaitable[bool]": ...
    def record_heartbeats(
        self, beats: Sequence[tuple[TenantId, WorkerId, datetime]]
    ) -> "Awaitable[None]": ...
    def load_workers(
        self, seen_since: datetime, partition: int | None = None
    ) -> "Awaitable[list[WorkerRow]]":
        """Workers of all tenants, or of a partition's, with a heartbeat or registration since then, and those
        that still hold assigned tasks."""

    # -- ownership ------------------------------------------------------------------------------------
    @property
    def partition_count(self) -> int:
        """Over how many partitions tenants are spread; final once this engine has joined."""

    @property
    def held(self) -> frozenset[int]:
        """The partitions whose leases this process holds, told by `acquire_lease` or not yet."""

    @property
    def tried(self) -> bool:
        """Whether leases were asked for since `acquire_lease` was called first."""

    @property
    def fleet(self) -> Fleet:
        """The engines and leases as the last sweep saw them."""

    @property
    def silent(self) -> tuple[EngineId, ...]:
        """Engines that the last sweep found silent."""

    def join(self, engine_id: EngineId, *, schedules: bool) -> None:
        """Let the others know of this engine; one that does not schedule takes no lease."""

    def joined(self) -> "Awaitable[None]":
        """Wait until they do."""

    def leave(self) -> "Awaitable[None]":
        """This engine is not there any more."""

    def bury(self, engine_id: EngineId, after: timedelta) -> "Awaitable[datetime | None]":
        """Drop an engine that was silent for so long, and its messages: up to when its spans had left it.
        None when there is nothing to drop."""

    def acquire_lease(self, engine_id: EngineId) -> "Awaitable[Lease]":
        """Wait until this process owns a partition it did not own before: takes its lock, raises its epoch.
        Cancellable. From then on every group commit of its tenants is fenced by the epoch."""

    def release_lease(
        self, confirmed_until: datetime | None, partition: int = 0, heir: EngineId | None = None
    ) -> "Awaitable[None]":
        """Give one back, for another engine if named."""

    def load_live_tasks(self, partition: int | None = None) -> "AsyncIterator[list[StoredTask]]":
        """Every task that is not final, oldest first, in pages; of one partition if given."""

    def load_finished_since(
        self, at: datetime, partition: int | None = None
    ) -> "AsyncIterator[list[StoredTask]]":
        """Tasks that became final since then, in pages: their spans may be missing."""

    def load_attempts_since(
        self, at: datetime, partition: int | None = None
    ) -> "AsyncIterator[list[EndedAttempt]]":
        """Attempts that ended since then while their tasks went on, in pages: their spans may be missing."""

    def sweep(self, confirmed_until: datetime | None) -> "Awaitable[list[Message]]":
        """The one statement a second: says that this engine lives, takes the messages that wait for it and
        for the partitions it owns, and notes up to when our spans left."""

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Call this when a NOTIFY says that messages wait."""

    def on_fenced(self, callback: Callable[[int], None]) -> None:
        """Call this with a partition that another process has taken. What was asked for and not committed by
        then is answered `Fenced`."""

    def on_fleet(self, callback: Callable[[Fleet], None]) -> None:
        """Call this with what each sweep saw."""
