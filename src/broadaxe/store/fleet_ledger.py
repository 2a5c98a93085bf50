"""The part of the ledger about several engines: leases, and messages from one to another."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, unique
from typing import Protocol

from broadaxe.domain.fleet import Fleet
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.telemetry.context import TraceContext


@unique
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
    QUEUE_FULL = 22
    """The owner says whether a queue is full: every engine refuses triggers for it."""
    FILTERS_CHANGED = 30
    """Filters of events: every engine reads the tenant's again."""
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


class FleetLedger(Protocol):
    """The operations. See `broadaxe.store.ledger`."""

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

    def untold_since(self, engine_id: EngineId, after: timedelta) -> "Awaitable[datetime | None]":
        """Up to when the spans of an engine had left it that was silent for so long; None when it was not."""

    def bury(self, engine_id: EngineId, after: timedelta) -> "Awaitable[bool]":
        """Drop an engine that was silent for so long, and its messages; False when there is none to drop."""

    def acquire_lease(self, engine_id: EngineId) -> "Awaitable[Lease]":
        """Wait until this process owns a partition it did not own before: takes its lock, raises its epoch.
        Cancellable. From then on every group commit of its tenants is fenced by the epoch."""

    def release_lease(
        self, confirmed_until: datetime | None, partition: int = 0, heir: EngineId | None = None
    ) -> "Awaitable[None]":
        """Give one back, for another engine if named."""

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

    def post(self, messages: Sequence[Message]) -> "Future[None]":
        """Leave messages for the owners and wake them (NOTIFY from a transaction of its own)."""
