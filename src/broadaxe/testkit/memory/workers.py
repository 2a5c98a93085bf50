"""Workers in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from broadaxe.clock import Clock
from broadaxe.domain.ids import TenantId, WorkerId
from broadaxe.domain.task import TaskState
from broadaxe.domain.workflow import LabelValue
from broadaxe.store.ledger import WorkerRow
from broadaxe.testkit.memory.commits import MemoryCommits
from broadaxe.testkit.memory.tables import MemoryTables


class MemoryWorkers(MemoryCommits):
    """Rows of workers, and the heartbeats that were written."""

    def __init__(self, clock: Clock, tables: MemoryTables | None = None) -> None:
        super().__init__(clock, tables)
        self.beats: list[tuple[TenantId, WorkerId, datetime]] = []

    async def add_worker(self, worker: WorkerRow) -> None:
        """Store a worker."""
        await self._reach()
        self.tables.workers[worker.id] = worker

    async def get_worker(self, tenant_id: TenantId, worker_id: WorkerId) -> WorkerRow | None:
        """A worker."""
        await self._reach()
        row = self.tables.workers.get(worker_id)
        return row if row is not None and row.tenant_id == tenant_id else None

    async def set_session(
        self, tenant_id: TenantId, worker_id: WorkerId, opened_at: datetime, listening: bool
    ) -> bool:
        """Compare and set by the time of opening."""
        await self._reach()
        row = self.tables.workers.get(worker_id)
        if row is None:
            return False
        if listening:
            if row.listening_since is not None and row.listening_since > opened_at:
                return False
            self.tables.workers[worker_id] = replace(row, listening_since=opened_at, engine_id=self.engine_id)
            return True
        if row.listening_since != opened_at:
            return False
        self.tables.workers[worker_id] = replace(row, listening_since=None, engine_id=None)
        return True

    async def put_labels(
        self, tenant_id: TenantId, worker_id: WorkerId, labels: dict[str, LabelValue]
    ) -> dict[str, LabelValue] | None:
        """Upsert by key."""
        row = await self.get_worker(tenant_id, worker_id)
        if row is None:
            return None
        after = {**row.labels, **labels}
        self.tables.workers[worker_id] = replace(row, labels=after)
        return after

    async def set_paused(self, tenant_id: TenantId, worker_id: WorkerId, paused: bool) -> bool:
        """Pause or resume."""
        row = await self.get_worker(tenant_id, worker_id)
        if row is None:
            return False
        self.tables.workers[worker_id] = replace(row, paused=paused)
        return True

    async def record_heartbeats(self, beats: Sequence[tuple[TenantId, WorkerId, datetime]]) -> None:
        """Note them all."""
        await self._reach()
        self.beats.extend(beats)
        for _, worker_id, at in beats:
            row = self.tables.workers.get(worker_id)
            if row is not None:
                self.tables.workers[worker_id] = replace(row, last_heartbeat_at=at)

    async def load_workers(self, seen_since: datetime, partition: int | None = None) -> list[WorkerRow]:
        """Recent ones, and those with tasks."""
        await self._reach()
        busy = {
            stored.status.worker_id
            for stored in self.tables.tasks.values()
            if stored.status.state is TaskState.ASSIGNED
        }
        return [
            row
            for row in self.tables.workers.values()
            if max(row.registered_at, row.last_heartbeat_at or row.registered_at) >= seen_since
            or row.id in busy
        ]
