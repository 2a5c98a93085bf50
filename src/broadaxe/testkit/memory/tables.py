"""What would be in the database."""

from asyncio import Future
from collections import deque
from datetime import datetime
from typing import Protocol
from uuid import UUID

from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.idempotency import KeyClaim
from broadaxe.domain.ids import EngineId, TenantId
from broadaxe.domain.task import AttemptRecord, Note, TaskState
from broadaxe.domain.workflow import WorkflowVersion
from broadaxe.store.event_ledger import EventLink, NewEvent
from broadaxe.store.ledger import ChildClaim, LogLine, Message, StoredTask, WorkerRow
from broadaxe.store.run_ledger import StoredRun, StoredWait
from broadaxe.testkit.memory.schedules import ScheduleTables


class Peer(Protocol):
    """The ledger of one process, as the others see it."""

    engine_id: EngineId | None
    takes_leases: bool

    def wake(self) -> None:
        """As a NOTIFY would."""


class MemoryTables:
    """The rows. Several ledgers may share it, as processes share a database."""

    def __init__(self) -> None:
        self.tasks: dict[UUID, StoredTask] = {}
        self.runs: dict[UUID, StoredRun] = {}
        self.waits: dict[tuple[UUID, int, int], StoredWait] = {}
        self.claims: dict[tuple[TenantId, ChildClaim], UUID] = {}
        self.attempts: dict[UUID, list[AttemptRecord]] = {}
        self.notes: dict[UUID, list[Note]] = {}
        self.workers: dict[UUID, WorkerRow] = {}
        self.newest: dict[tuple[TenantId, str], WorkflowVersion] = {}
        self.versions: dict[UUID, WorkflowVersion] = {}
        self.checksums: dict[UUID, str] = {}
        self.logs: list[LogLine] = []
        self.messages: list[Message] = []
        self.members: dict[EngineId, Peer] = {}
        """Engines that have joined."""
        self.schedules = ScheduleTables()
        self.epoch = 0
        self.owner: Peer | None = None
        self.waiting: deque[tuple[Peer, Future[None]]] = deque()
        self.confirmed_until: datetime | None = None
        self.events: dict[UUID, NewEvent] = {}
        self.links: dict[UUID, list[EventLink]] = {}
        self.filters: dict[UUID, EventFilter] = {}
        self.keys: dict[tuple[TenantId, str], tuple[KeyClaim, UUID]] = {}
        self.history: list[tuple[UUID, TaskState, int]] = []
        """Every committed state of every task, in order."""
