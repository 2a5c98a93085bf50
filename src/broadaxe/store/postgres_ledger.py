"""The ledger on PostgreSQL: the `Ledger` contract over the writer, the lease and the stores."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from broadaxe.clock import Clock, Ids
from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.fleet import Fleet, partition_of
from broadaxe.domain.ids import EngineId, TaskId, TenantId, VersionId, WorkerId
from broadaxe.domain.task import TaskFilter, TaskState
from broadaxe.domain.workflow import LabelValue, WorkflowDefinition, WorkflowVersion
from broadaxe.store.connection import Database
from broadaxe.store.event_ledger import NewEvent
from broadaxe.store.events import EventStore
from broadaxe.store.instruments import MetricSink
from broadaxe.store.lease import LeaseKeeper
from broadaxe.store.ledger import (
    Changed,
    DatabaseState,
    EndedAttempt,
    Lease,
    LogLine,
    Message,
    NewTask,
    StoredTask,
    TaskChange,
    TaskWrite,
    WorkerRow,
)
from broadaxe.store.messages import MessagePost
from broadaxe.store.options import StoreOptions
from broadaxe.store.partitions import Partitions
from broadaxe.store.run_ledger import ChangeResult, NewRun, RunChange, StoredRun, WholeRun
from broadaxe.store.run_reads import RunReads
from broadaxe.store.schedule_ledger import SkipRecord
from broadaxe.store.schedules import ScheduleStore
from broadaxe.store.task_reads import TaskReads
from broadaxe.store.workers import WorkerStore
from broadaxe.store.workflows import WorkflowStore
from broadaxe.store.writer import GroupCommitWriter
from broadaxe.telemetry.context import TraceContext
from broadaxe.telemetry.tracer import Tracer


class PostgresLedger:
    """See `broadaxe.store.ledger.Ledger` for what each operation promises.

    `open()` returns at once; `database.availability` says when the database is there. The schema must be
    migrated (`broadaxe.store.migrate`). Share one `Database` between this and the other stores of a process.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.state: DatabaseState = database.availability.state
        self.partitions = Partitions(database)
        self.events = EventStore(database)
        self.schedules = ScheduleStore(database)
        self._lease = LeaseKeeper(database)
        self._messages = MessagePost(database)
        self._writer = GroupCommitWriter(
            database, self._lease.fences, self._lease.lose, self._repair, self._messages.wake_for
        )
        self._elsewhere = GroupCommitWriter(
            database, None, self._lease.lose, self._repair, self._messages.wake_for
        )
        self._lease.on_fenced(self._writer.lose_fence)
        self._tasks = TaskReads(database)
        self._runs = RunReads(database)
        self._workflows = WorkflowStore(database)
        self._workers = WorkerStore(database, lambda: self._lease.engine_id)

    @classmethod
    def build(
        cls,
        options: StoreOptions,
        clock: Clock,
        ids: Ids,
        tracer: Tracer,
        metrics: MetricSink | None = None,
    ) -> "PostgresLedger":
        """A ledger with a `Database` of its own."""
        return cls(Database(options, clock, ids, tracer, metrics))

    async def open(self) -> None:
        """Starts the connections and the writer."""
        await self.database.open()
        self._writer.start()
        self._elsewhere.start()

    async def close(self) -> None:
        """Stops everything; what is not committed by then is answered Unavailable."""
        await self._writer.close()
        await self._elsewhere.close()
        await self._messages.close()
        await self._lease.close()
        await self.database.close()

    async def drain(self) -> None:
        """Waits until every write submitted so far is answered."""
        await self._writer.drain()
        await self._elsewhere.drain()

    @property
    def held_bytes(self) -> int:
        """Bytes of writes that are not answered yet."""
        return self._writer.held_bytes + self._elsewhere.held_bytes

    @property
    def epoch(self) -> int | None:
        """The newest epoch of the leases that are held, None without one."""
        return max((fence.epoch for fence in self._lease.fences.values()), default=None)

    @property
    def partition_count(self) -> int:
        return self._lease.partitions

    @property
    def held(self) -> frozenset[int]:
        return frozenset(self._lease.fences)

    @property
    def tried(self) -> bool:
        return self._lease.tried

    @property
    def fleet(self) -> Fleet:
        return self._lease.fleet

    @property
    def silent(self) -> tuple[EngineId, ...]:
        return self._lease.silent

    def _partition(self, tenant_id: TenantId) -> int:
        return partition_of(tenant_id, self._lease.partitions)

    async def _repair(self) -> None:
        try:
            await self.partitions.ensure_partitions()
        except BroadaxeError:
            return  # the batch is tried again and says what is wrong

    # -- tasks -----------------------------------------------------------------------------------------

    def create_tasks(
        self,
        tasks: Sequence[NewTask | NewRun],
        *,
        patience: float | None,
        event: NewEvent | None = None,
    ) -> "asyncio.Future[list[UUID]]":
        tenant_id = event.event.tenant_id if event is not None else tasks[0].facts.tenant_id
        return self._writer.create(tasks, patience, self._partition(tenant_id), event)

    def write_task(self, write: TaskWrite, *, lazy: float | None = None) -> "asyncio.Future[bool]":
        return self._writer.write(write, lazy, self._partition(write.tenant_id))

    def add_log_lines(self, lines: Sequence[LogLine], *, owned: bool = True) -> "asyncio.Future[None]":
        if not owned:
            return self._elsewhere.log(lines, None)
        return self._writer.log(lines, self._partition(lines[0].tenant_id))

    def create_elsewhere(
        self, tasks: Sequence[NewTask | NewRun], *, patience: float | None, event: NewEvent | None = None
    ) -> "asyncio.Future[list[UUID]]":
        return self._elsewhere.create(tasks, patience, None, event)

    def change_elsewhere(
        self, change: TaskChange, *, lazy: float | None = None
    ) -> "asyncio.Future[list[Changed]]":
        return self._elsewhere.change(change, lazy)

    def record_skips(self, skips: Sequence[SkipRecord]) -> "asyncio.Future[None]":
        return self._writer.skip(skips, self._partition(skips[0].tenant_id))

    def post(self, messages: Sequence[Message]) -> "asyncio.Future[None]":
        return asyncio.ensure_future(self._messages.post(messages))

    async def get_task(self, tenant_id: TenantId, task_id: UUID) -> StoredTask | None:
        return await self._tasks.get_task(tenant_id, task_id)

    async def get_tasks(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredTask]:
        return await self._tasks.get_tasks(tenant_id, ids)

    async def find_tasks(
        self, tenant_id: TenantId, where: TaskFilter, limit: int
    ) -> list[tuple[TaskId, TaskState]]:
        return await self._tasks.find_tasks(tenant_id, where, limit)

    async def load_inputs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        return await self._tasks.load_inputs(tenant_id, ids)

    # -- runs of several steps -------------------------------------------------------------------------

    def change_run(
        self, change: RunChange, write: TaskWrite | None = None
    ) -> "asyncio.Future[ChangeResult | None]":
        return self._writer.change_run(change, write, self._partition(change.tenant_id))

    async def get_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredRun]:
        return await self._runs.get_runs(tenant_id, ids)

    async def get_whole_run(self, tenant_id: TenantId, run_id: UUID) -> WholeRun | None:
        return await self._runs.get_whole_run(tenant_id, run_id)

    async def find_runs(self, tenant_id: TenantId, where: TaskFilter, limit: int) -> list[StoredRun]:
        return await self._runs.find_runs(tenant_id, where, limit)

    async def load_outputs(
        self, tenant_id: TenantId, task_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[bytes | None, bytes | None]]:
        return await self._runs.load_outputs(tenant_id, task_ids)

    async def load_run_inputs(self, tenant_id: TenantId, run_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        return await self._runs.load_run_inputs(tenant_id, run_ids)

    def load_live_runs(self) -> AsyncIterator[list[WholeRun]]:
        return self._runs.load_live_runs()

    def load_ended_runs_since(self, at: datetime) -> AsyncIterator[list[StoredRun]]:
        return self._runs.load_ended_runs_since(at)

    # -- workflows -------------------------------------------------------------------------------------

    async def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, trace: TraceContext | None = None
    ) -> WorkflowVersion:
        return await self._workflows.put_workflow(tenant_id, definition, trace)

    async def latest_version(self, tenant_id: TenantId, name: str) -> WorkflowVersion | None:
        return await self._workflows.latest_version(tenant_id, name)

    async def get_version(self, tenant_id: TenantId, version_id: VersionId) -> WorkflowVersion | None:
        return await self._workflows.get_version(tenant_id, version_id)

    # -- workers ---------------------------------------------------------------------------------------

    async def add_worker(self, worker: WorkerRow) -> None:
        await self._workers.add_worker(worker)

    async def get_worker(self, tenant_id: TenantId, worker_id: WorkerId) -> WorkerRow | None:
        return await self._workers.get_worker(tenant_id, worker_id)

    async def set_session(
        self, tenant_id: TenantId, worker_id: WorkerId, opened_at: datetime, listening: bool
    ) -> bool:
        return await self._workers.set_session(tenant_id, worker_id, opened_at, listening)

    async def put_labels(
        self, tenant_id: TenantId, worker_id: WorkerId, labels: dict[str, LabelValue]
    ) -> dict[str, LabelValue] | None:
        return await self._workers.put_labels(tenant_id, worker_id, labels)

    async def set_paused(self, tenant_id: TenantId, worker_id: WorkerId, paused: bool) -> bool:
        return await self._workers.set_paused(tenant_id, worker_id, paused)

    async def record_heartbeats(self, beats: Sequence[tuple[TenantId, WorkerId, datetime]]) -> None:
        await self._workers.record_heartbeats(beats)

    async def load_workers(self, seen_since: datetime, partition: int | None = None) -> list[WorkerRow]:
        return await self._workers.load_workers(seen_since, partition, self.partition_count)

    # -- ownership -------------------------------------------------------------------------------------

    def join(self, engine_id: EngineId, *, schedules: bool) -> None:
        self._lease.join(engine_id, schedules=schedules)

    async def joined(self) -> None:
        await self._lease.joined()

    async def leave(self) -> None:
        await self._lease.leave()

    async def untold_since(self, engine_id: EngineId, after: timedelta) -> datetime | None:
        return await self._lease.untold_since(engine_id, after)

    async def bury(self, engine_id: EngineId, after: timedelta) -> bool:
        return await self._lease.bury(engine_id, after)

    async def acquire_lease(self, engine_id: EngineId) -> Lease:
        return await self._lease.acquire(engine_id)

    async def release_lease(
        self, confirmed_until: datetime | None, partition: int = 0, heir: EngineId | None = None
    ) -> None:
        await self._lease.release(partition, confirmed_until, heir)

    def load_live_tasks(self, partition: int | None = None) -> AsyncIterator[list[StoredTask]]:
        return self._tasks.load_live_tasks(partition, self.partition_count)

    def load_finished_since(
        self, at: datetime, partition: int | None = None
    ) -> AsyncIterator[list[StoredTask]]:
        return self._tasks.load_finished_since(at, partition, self.partition_count)

    def load_attempts_since(
        self, at: datetime, partition: int | None = None
    ) -> AsyncIterator[list[EndedAttempt]]:
        return self._tasks.load_attempts_since(at, partition, self.partition_count)

    async def sweep(self, confirmed_until: datetime | None) -> list[Message]:
        return await self._lease.sweep(confirmed_until)

    def on_wake(self, callback: Callable[[], None]) -> None:
        self._lease.on_wake(callback)

    def on_fenced(self, callback: Callable[[int], None]) -> None:
        """Calls back when another engine has taken a lease: stop sending, drop memory."""
        self._lease.on_fenced(callback)

    def on_fleet(self, callback: Callable[[Fleet], None]) -> None:
        self._lease.on_fleet(callback)
