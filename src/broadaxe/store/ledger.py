"""The ledger: the narrow contract between the engine and the database.

About thirty operations. Writes of tasks join the group commit: everything that waits while a commit is in
flight shares the next one, and no call returns before its commit is durable. Each write is compare-and-set
on (task, attempt, state) and reports whether it held; the caller acts only upon what held.

Errors: `Unavailable` when the database is away for longer than the caller's patience,
`ResourceExhausted` when too many bytes wait for it, `StoreError` for a single refused item
(its neighbours in the batch are committed), `Fenced` once another process owns the lease.
"""

from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError, Unavailable
from broadaxe.domain.ids import EngineId, TenantId, VersionId, WorkerId
from broadaxe.domain.task import TaskFilter as TaskFilter
from broadaxe.domain.workflow import LabelValue as LabelValue
from broadaxe.domain.workflow import WorkflowDefinition
from broadaxe.domain.workflow import WorkflowVersion as WorkflowVersion
from broadaxe.store.event_ledger import EventLedger, NewEvent
from broadaxe.store.fleet_ledger import EVERYBODY as EVERYBODY
from broadaxe.store.fleet_ledger import FleetLedger
from broadaxe.store.fleet_ledger import Lease as Lease
from broadaxe.store.fleet_ledger import Message as Message
from broadaxe.store.fleet_ledger import MessageKind as MessageKind
from broadaxe.store.run_ledger import NewRun, RunLedger
from broadaxe.store.schedule_ledger import ScheduleLedger, SkipRecord
from broadaxe.store.task_ledger import Changed as Changed
from broadaxe.store.task_ledger import ChildClaim as ChildClaim
from broadaxe.store.task_ledger import EndedAttempt as EndedAttempt
from broadaxe.store.task_ledger import LogLine as LogLine
from broadaxe.store.task_ledger import NewTask as NewTask
from broadaxe.store.task_ledger import StoredTask as StoredTask
from broadaxe.store.task_ledger import TaskChange as TaskChange
from broadaxe.store.task_ledger import TaskLedger
from broadaxe.store.task_ledger import TaskWrite as TaskWrite
from broadaxe.telemetry.context import TraceContext


class StoreError(BroadaxeError):
    """One item was refused by the database; the message names the constraint or the type, never a value."""


class Fenced(Unavailable):
    """The lease belongs to another process: nothing this one decides is written any more."""


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


@dataclass(slots=True)
class DatabaseState:
    """Whether the database can be reached now."""

    available: bool = False
    away_since: datetime | None = None
    listeners: list[Callable[[bool], None]] = field(default_factory=list)


class Ledger(TaskLedger, RunLedger, FleetLedger, Protocol):
    """The operations. `tenant_id` is in the key of each."""

    state: DatabaseState

    @property
    def events(self) -> EventLedger:
        """Subscriptions, filters, idempotency keys."""

    @property
    def schedules(self) -> ScheduleLedger:
        """Crons, planned runs, pauses."""

    # -- what starts: these join the group commit --------------------------------------------------------
    def create_tasks(
        self,
        tasks: Sequence[NewTask | NewRun],
        *,
        patience: float | None,
        event: NewEvent | None = None,
    ) -> "Future[list[UUID]]":
        """Create tasks, and runs of several, and store the event that starts them. Resolves to one run id
        each: its own, or the one that already holds its claim, or the `KeyHolder` of its idempotency key, or
        `NOBODY` if its due time is not to be had; then nothing was created for it. `patience`: seconds to
        wait for an absent database; None = hold.
        """

    def record_skips(self, skips: Sequence[SkipRecord]) -> "Future[None]":
        """Note due times that get no run."""

    # -- whoever owns the tenant: a commit of its own, and a message for the owner in it -----------------
    def create_elsewhere(
        self, tasks: Sequence[NewTask | NewRun], *, patience: float | None, event: NewEvent | None = None
    ) -> "Future[list[UUID]]":
        """Like `create_tasks`, whoever owns the tenant."""

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
