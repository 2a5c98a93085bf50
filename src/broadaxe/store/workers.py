"""Registered workers, their sessions, labels and heartbeats."""

from collections.abc import Callable, Sequence
from datetime import datetime

from broadaxe.domain.ids import EngineId, TenantId, WorkerId
from broadaxe.domain.workflow import LabelValue
from broadaxe.store.connection import Database
from broadaxe.store.ledger import WorkerRow
from broadaxe.store.rows import columns_of, json_text, labels_bytes, labels_of, worker_of
from broadaxe.store.statements import statement


class WorkerStore:
    """Rows of workers. `engine_id` names the engine that holds the sessions opened here."""

    def __init__(self, database: Database, engine_id: Callable[[], EngineId | None]) -> None:
        self._db = database
        self._engine_id = engine_id

    async def add_worker(self, worker: WorkerRow) -> None:
        """Registers; again with the same id changes nothing."""
        await self._db.fetch(
            statement("worker_add"),
            worker.tenant_id,
            worker.id,
            worker.name,
            list(worker.actions),
            json_text(worker.slots),
            labels_bytes(worker.labels),
            json_text(worker.runtime),
            worker.registered_at,
            worker.last_heartbeat_at,
            worker.listening_since,
            worker.paused,
            None,
        )

    async def get_worker(self, tenant_id: TenantId, worker_id: WorkerId) -> WorkerRow | None:
        """One worker."""
        rows = await self._db.fetch(statement("worker_get"), tenant_id, worker_id)
        return worker_of(rows[0]) if rows else None

    async def set_session(
        self, tenant_id: TenantId, worker_id: WorkerId, opened_at: datetime, listening: bool
    ) -> bool:
        """Whether the session is, or was, the newest of a known worker."""
        if listening:
            rows = await self._db.fetch(
                statement("worker_session_open"), tenant_id, worker_id, opened_at, self._engine_id()
            )
        else:
            rows = await self._db.fetch(statement("worker_session_close"), tenant_id, worker_id, opened_at)
        return bool(rows)

    async def put_labels(
        self, tenant_id: TenantId, worker_id: WorkerId, labels: dict[str, LabelValue]
    ) -> dict[str, LabelValue] | None:
        """Upserts by key; all labels afterwards, None for an unknown worker."""
        text = labels_bytes(labels)
        rows = await self._db.fetch(statement("worker_put_labels"), tenant_id, worker_id, text)
        return labels_of(rows[0][0]) if rows else None

    async def set_paused(self, tenant_id: TenantId, worker_id: WorkerId, paused: bool) -> bool:
        """Whether the worker is known."""
        return bool(await self._db.fetch(statement("worker_set_paused"), tenant_id, worker_id, paused))

    async def record_heartbeats(self, beats: Sequence[tuple[TenantId, WorkerId, datetime]]) -> None:
        """Notes heartbeats, one statement for all."""
        if beats:
            await self._db.fetch(statement("worker_heartbeats"), *columns_of(beats, 3), batch=len(beats))

    async def load_workers(
        self, seen_since: datetime, partition: int | None, partitions: int
    ) -> list[WorkerRow]:
        """Workers of all tenants, or of a partition, that were seen since then or hold assigned tasks."""
        rows = await self._db.fetch(statement("worker_load"), partition, partitions, seen_since)
        return [worker_of(row) for row in rows]
