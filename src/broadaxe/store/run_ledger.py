"""The part of the ledger about runs of several steps. It promises the same as `broadaxe.store.ledger`."""

from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.idempotency import KeyClaim
from broadaxe.domain.ids import RunId, TenantId
from broadaxe.domain.run import MetWait, RunEnd, RunFacts, Wait
from broadaxe.domain.task import TaskFilter
from broadaxe.store.fleet_ledger import Message
from broadaxe.store.schedule_ledger import FireClaim
from broadaxe.store.task_ledger import ChildClaim, NewTask, StoredTask, TaskWrite
from broadaxe.telemetry.context import TraceContext


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created, with the tasks of its first steps and what others wait for."""

    facts: RunFacts
    tasks: tuple[NewTask, ...] = ()
    waits: tuple[Wait, ...] = ()
    claim: ChildClaim | None = None
    trace: TraceContext | None = None
    """Parent of this member's commit-wait span; None when unsampled."""
    fire: FireClaim | None = None
    """The due time it is started for."""
    key: KeyClaim | None = None
    """The idempotency key it takes."""
    messages: tuple[Message, ...] = ()
    """As of a task."""


@dataclass(frozen=True, slots=True)
class RunChange:
    """What a run's evaluation writes, all in one commit."""

    tenant_id: TenantId
    run_id: RunId
    tasks: tuple[NewTask, ...] = ()
    """Steps that are decided. One that has a task already is left as it is."""
    writes: tuple[TaskWrite, ...] = ()
    """Steps that have a task from an earlier round. Each is compared and set."""
    opened: tuple[Wait, ...] = ()
    """Waits that begin; an older one in their place is replaced."""
    met: tuple[MetWait, ...] = ()
    """Waits that are over; one that is over already is left as it is."""
    end: RunEnd | None = None
    """The run is over."""
    frees_key: bool = False
    """With its end it gives its idempotency key back."""
    reopen: bool = False
    """A run that was over goes on: nothing of the change is written when it was not over."""
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """What of a change was written."""

    created: frozenset[UUID]
    """Tasks of `tasks` that were created."""
    written: frozenset[UUID]
    """Tasks of `writes` whose compare held."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as its row says. `end` is None while it is not over."""

    facts: RunFacts
    end: RunEnd | None


@dataclass(frozen=True, slots=True)
class StoredWait:
    """A wait, and what met it."""

    wait: Wait
    met_at: datetime | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run with all its tasks and waits."""

    run: StoredRun
    tasks: tuple[StoredTask, ...]
    waits: tuple[StoredWait, ...]


class RunLedger(Protocol):
    """The operations."""

    def change_run(self, change: RunChange, write: TaskWrite | None = None) -> "Future[ChangeResult | None]":
        """Write what an evaluation decided. With a task's `write` only if that one's compare held, else
        None; None also for a `reopen` of a run that was not over."""

    def get_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> "Awaitable[list[StoredRun]]": ...
    def get_whole_run(self, tenant_id: TenantId, run_id: UUID) -> "Awaitable[WholeRun | None]": ...
    def find_runs(self, tenant_id: TenantId, where: TaskFilter, limit: int) -> "Awaitable[list[StoredRun]]":
        """Newest first, without their inputs."""

    def load_outputs(
        self, tenant_id: TenantId, task_ids: Sequence[UUID]
    ) -> "Awaitable[dict[UUID, tuple[bytes | None, bytes | None]]]":
        """Output and error by task id; unknown ids are left out."""

    def load_run_inputs(
        self, tenant_id: TenantId, run_ids: Sequence[UUID]
    ) -> "Awaitable[dict[UUID, bytes]]": ...
    def load_live_runs(self) -> "AsyncIterator[list[WholeRun]]":
        """Every run that is not over, oldest first, in pages. The outputs of its tasks come along."""

    def load_ended_runs_since(self, at: datetime) -> "AsyncIterator[list[StoredRun]]":
        """Runs that ended since then, in pages: their spans may be missing."""
