"""The part of the ledger about tasks. See `broadaxe.store.ledger` for what a write promises."""

from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.idempotency import KeyClaim
from broadaxe.domain.ids import TaskId, TenantId
from broadaxe.domain.task import (
    AttemptRecord,
    Decision,
    Note,
    TaskFacts,
    TaskFilter,
    TaskState,
    TaskStatus,
)
from broadaxe.store.fleet_ledger import Message
from broadaxe.store.schedule_ledger import FireClaim
from broadaxe.telemetry.context import TraceContext


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
    messages: tuple[Message, ...] = ()
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
    messages: tuple[Message, ...] = ()
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


class TaskLedger(Protocol):
    """The operations."""

    # -- these join the group commit --------------------------------------------------------------------
    def write_task(self, write: TaskWrite, *, lazy: float | None = None) -> "Future[bool]":
        """Change a task's state; True if the compare held. `lazy`: seconds this write may wait for
        another commit to ride on before it causes one of its own."""

    def add_log_lines(self, lines: Sequence[LogLine], *, owned: bool = True) -> "Future[None]":
        """Store log lines. Not `owned`: those of a tenant that another engine may own."""

    # -- of a tenant that another engine may own: a commit of its own, and a message for the owner in it --
    def change_elsewhere(self, change: TaskChange, *, lazy: float | None = None) -> "Future[list[Changed]]":
        """Lock rows, judge them as they are, write what follows; unknown ids are left out."""

    # -- reads of the primary ---------------------------------------------------------------------------
    def get_task(self, tenant_id: TenantId, task_id: UUID) -> "Awaitable[StoredTask | None]": ...
    def get_tasks(self, tenant_id: TenantId, ids: Sequence[UUID]) -> "Awaitable[list[StoredTask]]":
        """Tasks whose task id or run id is in `ids`."""

    def find_tasks(
        self, tenant_id: TenantId, where: TaskFilter, limit: int
    ) -> "Awaitable[list[tuple[TaskId, TaskState]]]":
        """Newest first."""

    def load_inputs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> "Awaitable[dict[UUID, bytes]]": ...

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
