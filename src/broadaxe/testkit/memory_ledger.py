"""The ledger in memory: the same compare-and-set and claims as the database, with faults at will."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec

from broadaxe.clock import Clock
from broadaxe.domain.errors import Unavailable
from broadaxe.domain.event_filters import EventFilter
from broadaxe.domain.fleet import Fleet, Held, Member
from broadaxe.domain.idempotency import KeyClaim, winners
from broadaxe.domain.ids import EngineId, TaskId, TenantId, VersionId, WorkerId, WorkflowId
from broadaxe.domain.metadata import matches
from broadaxe.domain.registration import checksum
from broadaxe.domain.run import RunEnd, RunFacts
from broadaxe.domain.task import AttemptOutcome, AttemptRecord, Note, TaskFacts, TaskFilter, TaskState
from broadaxe.domain.workflow import LabelValue, WorkflowDefinition, WorkflowVersion
from broadaxe.store.event_ledger import (
    EventLink,
    FilterChange,
    KeyHolder,
    NewEvent,
    StoredEvent,
    Subscription,
)
from broadaxe.store.ledger import (
    EVERYBODY,
    Changed,
    ChildClaim,
    DatabaseState,
    EndedAttempt,
    Lease,
    LogLine,
    Message,
    MessageKind,
    NewTask,
    StoredTask,
    TaskChange,
    TaskWrite,
    WorkerRow,
)
from broadaxe.store.run_ledger import (
    ChangeResult,
    NewRun,
    RunChange,
    StoredRun,
    StoredWait,
    WholeRun,
)
from broadaxe.store.schedule_ledger import NOBODY, SkipRecord
from broadaxe.telemetry.context import TraceContext
from broadaxe.testkit.memory_schedules import MemorySchedules, ScheduleTables

_NAMESPACE = UUID("6f1d0b1e-5f4c-4d0a-9f0e-0a6b3c2d1e4f")
_PAGE = 500


class MemoryTables:
    """What would be in the database. Several ledgers may share it, as processes share a database."""

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
        self.members: dict[EngineId, MemoryLedger] = {}
        """Engines that have joined."""
        self.schedules = ScheduleTables()
        self.epoch = 0
        self.owner: MemoryLedger | None = None
        self.waiting: deque[tuple[MemoryLedger, Future[None]]] = deque()
        self.confirmed_until: datetime | None = None
        self.events: dict[UUID, NewEvent] = {}
        self.links: dict[UUID, list[EventLink]] = {}
        self.filters: dict[UUID, EventFilter] = {}
        self.keys: dict[tuple[TenantId, str], tuple[KeyClaim, UUID]] = {}
        self.history: list[tuple[UUID, TaskState, int]] = []
        """Every committed state of every task, in order."""


class MemoryLedger:
    """Implements `Ledger` on `MemoryTables`. Commits happen on the next turn of the loop, in order, unless
    `hold` is set: then they wait for `release`."""

    def __init__(self, clock: Clock, tables: MemoryTables | None = None) -> None:
        self._clock = clock
        self.tables = tables if tables is not None else MemoryTables()
        self.schedules = MemorySchedules(self.tables.schedules, self.tables.newest, clock.now)
        self.state = DatabaseState(available=True)
        self.hold = False
        self.refuse: Callable[[object], BaseException | None] = lambda item: None
        """Asked for every NewTask and TaskWrite: an exception makes the item fail."""
        self.commits = 0
        self.reads = 0
        self.beats: list[tuple[TenantId, WorkerId, datetime]] = []
        self._queue: deque[Callable[[], None]] = deque()
        self._planned = False
        self._epoch = 0
        self._wake: list[Callable[[], None]] = []
        self._losers: list[Callable[[int], None]] = []
        self._lookers: list[Callable[[Fleet], None]] = []
        self._engine_id: EngineId | None = None
        self._takes_leases = True

    # -- the group commit -------------------------------------------------------------------------------

    @property
    def events(self) -> "MemoryLedger":
        """The part about events."""
        return self

    def create_tasks(
        self, tasks: Sequence[NewTask | NewRun], *, patience: float | None, event: NewEvent | None = None
    ) -> "Future[list[UUID]]":
        """Create tasks, runs and their event; the claims of the first."""
        future: Future[list[UUID]] = asyncio.get_running_loop().create_future()
        items = list(tasks)

        def commit() -> None:
            if future.cancelled():
                return
            error = self._fence() or next((e for e in map(self.refuse, items) if e is not None), None)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(self._create_all(items, event))

        self._enqueue(commit)
        return future

    def write_task(self, write: TaskWrite, *, lazy: float | None = None) -> "Future[bool]":
        """Compare and set."""
        future: Future[bool] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            if future.cancelled():
                return
            error = self._fence() or self.refuse(write)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(self._write(write))

        self._enqueue(commit)
        return future

    def change_run(self, change: RunChange, write: TaskWrite | None = None) -> "Future[ChangeResult | None]":
        """What follows from an evaluation, and from a task's write if there is one."""
        future: Future[ChangeResult | None] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            if future.cancelled():
                return
            error = self._fence() or self.refuse(change if write is None else write)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(self._change(change, write))

        self._enqueue(commit)
        return future

    def create_elsewhere(
        self, tasks: Sequence[NewTask | NewRun], *, patience: float | None, event: NewEvent | None = None
    ) -> "Future[list[UUID]]":
        """Create tasks without the lease."""
        future: Future[list[UUID]] = asyncio.get_running_loop().create_future()
        items = list(tasks)

        def commit() -> None:
            error = next((e for e in map(self.refuse, items) if e is not None), None)
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
                return
            future.set_result(self._create_all(items, event))
            if items:
                self._changed(items[0].facts.tenant_id, [task.facts.id for task in items])

        self._enqueue(commit)
        return future

    def change_elsewhere(self, change: TaskChange, *, lazy: float | None = None) -> "Future[list[Changed]]":
        """Judge rows as they are, and write what follows."""
        future: Future[list[Changed]] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            found: list[Changed] = []
            for task_id in change.ids:
                stored = self.tables.tasks.get(task_id)
                if stored is None or stored.facts.tenant_id != change.tenant_id:
                    continue
                decision = change.judge(stored)
                found.append(Changed(stored, decision))
                if decision is not None:
                    write = TaskWrite(
                        change.tenant_id,
                        stored.facts.id,
                        stored.status.attempt,
                        stored.status.state,
                        decision.status,
                        decision.record,
                        decision.notes,
                        frees_key_of=change.freed(stored, decision.status),
                    )
                    assert self._write(write)
            changed = [one.before.facts.id for one in found if one.decision is not None]
            if changed:
                self._changed(change.tenant_id, changed)
            if not future.done():
                future.set_result(found)

        self._enqueue(commit)
        return future

    def _changed(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        body = msgspec.json.encode({"ids": list(ids)})
        self._leave([Message(tenant_id, MessageKind.ROWS_CHANGED, body)])

    def _leave(self, messages: Sequence[Message]) -> None:
        """Put messages where their engines find them, and wake these."""
        for message in messages:
            if message.kind in EVERYBODY and message.engine_id is None and self.tables.members:
                for member in self.tables.members:
                    self.tables.messages.append(replace(message, engine_id=member))
            else:
                self.tables.messages.append(message)
        if messages:
            for ledger in list(self.tables.members.values()):
                if ledger is not self:
                    asyncio.get_running_loop().call_soon(ledger.wake)

    def add_log_lines(self, lines: Sequence[LogLine], *, owned: bool = True) -> "Future[None]":
        """Store log lines."""
        return self._later(lambda: self.tables.logs.extend(lines))

    def record_skips(self, skips: Sequence[SkipRecord]) -> "Future[None]":
        """Note due times that get no run."""
        return self._later(lambda: self.schedules.skip(skips))

    def post(self, messages: Sequence[Message]) -> "Future[None]":
        """Leave messages."""
        return self._later(lambda: self._leave(messages))

    def go_away(self) -> None:
        """The database cannot be reached: reads are refused, writes wait."""
        self.state.available = False
        self.hold = True

    def come_back(self) -> None:
        """It can be reached again."""
        self.state.available = True
        self.release()
        for listener in list(self.state.listeners):
            listener(True)

    async def _reach(self) -> None:
        """A round trip to the database."""
        await asyncio.sleep(0)
        if not self.state.available:
            raise Unavailable("the database cannot be reached")

    def release(self) -> None:
        """Commit what waits, and go on as usual."""
        self.hold = False
        self._plan()

    def crash(self) -> None:
        """The process is gone: what was not committed never will be, the lease is free."""
        self._queue.clear()
        self._epoch = -1
        if self._engine_id is not None:
            self.tables.members.pop(self._engine_id, None)
        if self.tables.owner is self:
            self._pass_on()

    def _later(self, change: Callable[[], None]) -> "Future[None]":
        future: Future[None] = asyncio.get_running_loop().create_future()

        def commit() -> None:
            change()
            if not future.done():
                future.set_result(None)

        self._enqueue(commit)
        return future

    def _enqueue(self, commit: Callable[[], None]) -> None:
        self._queue.append(commit)
        self._plan()

    def _plan(self) -> None:
        if not self._planned and not self.hold and self._queue:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._commit)

    def _commit(self) -> None:
        self._planned = False
        if self.hold:
            return
        self.commits += 1
        batch, self._queue = self._queue, deque()
        for commit in batch:
            commit()

    def _fence(self) -> BaseException | None:
        if self._epoch != self.tables.epoch or self.tables.owner is not self:
            return Unavailable("another engine owns the scheduling now")
        return None

    def _create_all(self, tasks: list[NewTask | NewRun], event: NewEvent | None) -> list[UUID]:
        claims = ((t.key.key, t.key.expires_at, t.facts.run_id) for t in tasks if t.key is not None)
        best = winners(claims)
        # The one that takes a key goes first; the others then meet it.
        first = sorted(tasks, key=lambda t: t.key is not None and best[t.key.key] != t.facts.run_id)
        created = {task.facts.id: self._create(task) for task in first}
        if event is not None:
            self.tables.events[event.event.id] = event
            born = set(created.values())
            self.tables.links[event.event.id] = [link for link in event.links if link.run_id in born]
        return [created[task.facts.id] for task in tasks]

    def _create(self, task: NewTask | NewRun) -> UUID:
        facts = task.facts
        if task.fire is not None and not self.schedules.claim(task):
            return NOBODY
        if task.key is not None:
            place = (facts.tenant_id, task.key.key)
            held = self.tables.keys.get(place)
            if held is not None and held[0].expires_at > facts.created_at:
                return KeyHolder(int=held[1].int)
            self.tables.keys[place] = (task.key, facts.run_id)
        if task.claim is not None:
            holder = self.tables.claims.setdefault((facts.tenant_id, task.claim), facts.run_id)
            if holder != facts.run_id:
                return holder
        if isinstance(task, NewRun):
            self.tables.runs[facts.id] = StoredRun(task.facts, None)
            for one in task.tasks:
                self._insert(one)
            for wait in task.waits:
                self.tables.waits[(wait.run_id, wait.step, wait.item)] = StoredWait(wait, None, None)
        else:
            self._insert(task)
        self._leave(task.messages)
        return facts.run_id

    def _insert(self, task: NewTask) -> None:
        facts = task.facts
        self.tables.tasks[facts.id] = StoredTask(facts, task.status)
        if task.notes:
            self.tables.notes.setdefault(facts.id, []).extend(task.notes)
        self.tables.history.append((facts.id, task.status.state, task.status.attempt))

    def _change(self, change: RunChange, write: TaskWrite | None) -> ChangeResult | None:
        tables = self.tables
        stored = tables.runs[change.run_id]
        if change.reopen:
            if stored.end is None:
                return None
            tables.runs[change.run_id] = StoredRun(stored.facts, None)
        if write is not None and not self._write(write):
            return None
        written = frozenset(one.task_id for one in change.writes if self._write(one))
        created = [task for task in change.tasks if task.facts.id not in tables.tasks]
        for task in created:
            self._insert(task)
        for wait in change.opened:
            key = (wait.run_id, wait.step, wait.item)
            before = tables.waits.get(key)
            if before is None or before.wait.attempt < wait.attempt:
                tables.waits[key] = StoredWait(wait, None, None)
        for met in change.met:
            key = (met.run_id, met.step, met.item)
            one = tables.waits.get(key)
            if one is not None and one.met_at is None and one.wait.attempt == met.attempt:
                tables.waits[key] = StoredWait(one.wait, met.at, met.data)
        if change.end is not None and tables.runs[change.run_id].end is None:
            end = RunEnd(change.end.state, change.end.at)
            tables.runs[change.run_id] = StoredRun(stored.facts, end)
        return ChangeResult(frozenset(task.facts.id for task in created), written)

    async def load_subscriptions(self, tenant_id: TenantId) -> tuple[list[Subscription], list[EventFilter]]:
        """All of a tenant's."""
        await self._reach()
        found = [
            Subscription(version.workflow_id, name, version.definition.event_triggers)
            for (tenant, name), version in sorted(self.tables.newest.items(), key=lambda item: item[0][1])
            if tenant == tenant_id and version.definition.event_triggers
        ]
        filters = [one for one in self.tables.filters.values() if one.tenant_id == tenant_id]
        return found, filters

    async def load_events_since(self, at: datetime) -> AsyncIterator[list[StoredEvent]]:
        """Events since then."""
        await asyncio.sleep(0)
        yield [
            StoredEvent(
                new.event.tenant_id,
                new.event.id,
                new.event.at,
                new.event.key,
                new.trace,
                max((link.run_id for link in self.tables.links[new.event.id]), default=None),
            )
            for new in self.tables.events.values()
            if new.event.at >= at
        ]

    async def add_filter(
        self, tenant_id: TenantId, workflow_id: UUID, scope: str, expression: str, payload: bytes, limit: int
    ) -> EventFilter:
        """Make a filter."""
        await self._reach()
        now = self._clock.now()
        filter_id = uuid5(workflow_id, f"filter {len(self.tables.filters)}")
        made = EventFilter(
            tenant_id, filter_id, WorkflowId(workflow_id), scope, expression, payload, False, now, now
        )
        self.tables.filters[filter_id] = made
        return made

    async def change_filter(
        self, tenant_id: TenantId, filter_id: UUID, change: FilterChange
    ) -> EventFilter | None:
        """Change a filter."""
        await self._reach()
        found = self.tables.filters.get(filter_id)
        if found is None or found.tenant_id != tenant_id:
            return None
        given = {"scope": change.scope, "expression": change.expression, "payload": change.payload}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.tables.filters[filter_id] = replace(found, **changes)
        return self.tables.filters[filter_id]

    async def delete_filter(self, tenant_id: TenantId, filter_id: UUID) -> EventFilter | None:
        """Take a filter away."""
        await self._reach()
        found = self.tables.filters.get(filter_id)
        if found is None or found.tenant_id != tenant_id:
            return None
        return self.tables.filters.pop(filter_id)

    async def expire_keys(self) -> int:
        """Take expired keys away."""
        await self._reach()
        now = self._clock.now()
        old = [place for place, (held, _) in self.tables.keys.items() if held.expires_at <= now]
        for place in old:
            del self.tables.keys[place]
        return len(old)

    def _write(self, write: TaskWrite) -> bool:
        stored = self.tables.tasks.get(write.task_id)
        if stored is None or stored.facts.tenant_id != write.tenant_id:
            return False
        status, expect = stored.status, write.expect
        if (status.attempt, status.state) != (write.expect_attempt, write.expect_state):
            return False
        if expect is not None and (status.started_at, status.timeout_at, status.slot_released) != (
            expect.started_at,
            expect.timeout_at,
            expect.slot_released,
        ):
            return False
        self._leave(write.messages)
        self.tables.tasks[write.task_id] = StoredTask(stored.facts, write.status)
        self.tables.history.append((write.task_id, write.status.state, write.status.attempt))
        if write.record is not None:
            self.tables.attempts.setdefault(write.task_id, []).append(write.record)
        self.tables.notes.setdefault(write.task_id, []).extend(write.notes)
        for place, (held, run_id) in list(self.tables.keys.items()):
            if held.until_end and run_id == write.frees_key_of:
                del self.tables.keys[place]
        return True

    # -- reads ------------------------------------------------------------------------------------------

    async def get_task(self, tenant_id: TenantId, task_id: UUID) -> StoredTask | None:
        """One task."""
        self.reads += 1
        await self._reach()
        stored = self.tables.tasks.get(task_id)
        return stored if stored is not None and stored.facts.tenant_id == tenant_id else None

    async def get_tasks(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredTask]:
        """Tasks by task id or run id."""
        self.reads += 1
        await self._reach()
        wanted = set(ids)
        return [
            stored
            for stored in self.tables.tasks.values()
            if stored.facts.tenant_id == tenant_id and {stored.facts.id, stored.facts.run_id} & wanted
        ]

    async def find_tasks(
        self, tenant_id: TenantId, where: TaskFilter, limit: int
    ) -> list[tuple[TaskId, TaskState]]:
        """Newest first."""
        await self._reach()
        found = [
            (stored.facts.id, stored.status.state)
            for stored in self.tables.tasks.values()
            if stored.facts.tenant_id == tenant_id and _fits(stored.facts, stored.status.state, where)
        ]
        return sorted(found, reverse=True)[:limit]

    async def load_inputs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Inputs by task id."""
        self.reads += 1
        await self._reach()
        return {
            task_id: self.tables.tasks[task_id].facts.input for task_id in ids if task_id in self.tables.tasks
        }

    # -- runs of several steps --------------------------------------------------------------------------

    async def get_runs(self, tenant_id: TenantId, ids: Sequence[UUID]) -> list[StoredRun]:
        """By id."""
        self.reads += 1
        await self._reach()
        found = [self.tables.runs[one] for one in ids if one in self.tables.runs]
        return [run for run in found if run.facts.tenant_id == tenant_id]

    async def get_whole_run(self, tenant_id: TenantId, run_id: UUID) -> WholeRun | None:
        """A run with its tasks and waits."""
        runs = await self.get_runs(tenant_id, [run_id])
        return self._whole(runs[0]) if runs else None

    def _whole(self, run: StoredRun) -> WholeRun:
        run_id = run.facts.id
        tasks = [task for task in self.tables.tasks.values() if task.facts.run_id == run_id]
        waits = [wait for key, wait in self.tables.waits.items() if key[0] == run_id]
        return WholeRun(run, tuple(tasks), tuple(waits))

    async def find_runs(self, tenant_id: TenantId, where: TaskFilter, limit: int) -> list[StoredRun]:
        """Newest first."""
        await self._reach()
        found = [
            run
            for run in self.tables.runs.values()
            if run.facts.tenant_id == tenant_id
            and _fits(run.facts, TaskState.ASSIGNED if run.end is None else run.end.state, where)
        ]
        return sorted(found, key=lambda run: run.facts.id, reverse=True)[:limit]

    async def load_outputs(
        self, tenant_id: TenantId, task_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[bytes | None, bytes | None]]:
        """Output and error by task id."""
        self.reads += 1
        await self._reach()
        found = {one: self.tables.tasks[one].status for one in task_ids if one in self.tables.tasks}
        return {task_id: (status.output, status.error) for task_id, status in found.items()}

    async def load_run_inputs(self, tenant_id: TenantId, run_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Inputs by run id."""
        self.reads += 1
        await self._reach()
        return {one: self.tables.runs[one].facts.input for one in run_ids if one in self.tables.runs}

    async def load_live_runs(self) -> AsyncIterator[list[WholeRun]]:
        """Oldest first."""
        await asyncio.sleep(0)
        live = [run for run in self.tables.runs.values() if run.end is None]
        yield [self._whole(run) for run in sorted(live, key=lambda run: run.facts.id)]

    async def load_ended_runs_since(self, at: datetime) -> AsyncIterator[list[StoredRun]]:
        """What ended since then."""
        await asyncio.sleep(0)
        yield [run for run in self.tables.runs.values() if run.end is not None and run.end.at >= at]

    # -- workflows --------------------------------------------------------------------------------------

    async def put_workflow(
        self, tenant_id: TenantId, definition: WorkflowDefinition, trace: TraceContext | None = None
    ) -> WorkflowVersion:
        """A new version unless the newest is the same."""
        await self._reach()
        newest = self.tables.newest.get((tenant_id, definition.name))
        digest = checksum(definition)
        if newest is not None and self.tables.checksums[newest.version_id] == digest:
            return newest
        workflow_id = uuid5(_NAMESPACE, f"{tenant_id}/{definition.name}")
        version_id = uuid5(workflow_id, f"{len(self.tables.versions)}/{digest}")
        version = WorkflowVersion(
            tenant_id, WorkflowId(workflow_id), VersionId(version_id), definition, self._clock.now()
        )
        self.tables.newest[(tenant_id, definition.name)] = version
        self.tables.versions[version_id] = version
        self._declare(tenant_id, version)
        self.tables.checksums[version_id] = digest
        self.schedules.declare(version, trace)
        return version

    def _declare(self, tenant_id: TenantId, version: WorkflowVersion) -> None:
        filters = self.tables.filters
        for one in [one for one in filters.values() if one.declared]:
            if one.workflow_id == version.workflow_id:
                del filters[one.id]
        for at, new in enumerate(version.definition.default_filters):
            filter_id = uuid5(version.version_id, f"filter {at}")
            now = self._clock.now()
            filters[filter_id] = EventFilter(
                tenant_id, filter_id, version.workflow_id, new.scope, new.expression, new.payload or b"{}",
                True, now, now,
            )  # fmt: skip

    async def latest_version(self, tenant_id: TenantId, name: str) -> WorkflowVersion | None:
        """The newest version."""
        await self._reach()
        return self.tables.newest.get((tenant_id, name))

    async def get_version(self, tenant_id: TenantId, version_id: VersionId) -> WorkflowVersion | None:
        """A version."""
        await self._reach()
        version = self.tables.versions.get(version_id)
        return version if version is not None and version.tenant_id == tenant_id else None

    # -- workers ----------------------------------------------------------------------------------------

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
            self.tables.workers[worker_id] = replace(
                row, listening_since=opened_at, engine_id=self._engine_id
            )
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
        for _, worker_id, at in beats:
            self.beats.append((_, worker_id, at))
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

    # -- ownership --------------------------------------------------------------------------------------

    @property
    def partition_count(self) -> int:
        """One lease for all tenants."""
        return 1

    @property
    def held(self) -> frozenset[int]:
        """The one partition, when it is owned."""
        return frozenset({0}) if self.tables.owner is self else frozenset()

    @property
    def tried(self) -> bool:
        """Whoever asks is answered at once, or waits in line."""
        return True

    @property
    def fleet(self) -> Fleet:
        """Who has joined, and whose the lease is."""
        members = tuple(
            Member(engine_id, ledger._takes_leases)
            for engine_id, ledger in sorted(self.tables.members.items())
        )
        owner = self.tables.owner
        held = owner._engine_id if owner is not None else None
        return Fleet(members, () if held is None else (Held(0, held, self.tables.epoch),))

    @property
    def silent(self) -> tuple[EngineId, ...]:
        """Engines are alive or have left."""
        return ()

    def join(self, engine_id: EngineId, *, schedules: bool) -> None:
        """Known to the others at once."""
        self._engine_id, self._takes_leases = engine_id, schedules
        self.tables.members[engine_id] = self

    async def joined(self) -> None:
        """At once."""
        await asyncio.sleep(0)

    async def leave(self) -> None:
        """Known to nobody."""
        await asyncio.sleep(0)
        if self._engine_id is not None:
            self.tables.members.pop(self._engine_id, None)

    async def bury(self, engine_id: EngineId, after: timedelta) -> datetime | None:
        """Nobody is silent."""
        await asyncio.sleep(0)
        return None

    async def acquire_lease(self, engine_id: EngineId) -> Lease:
        """Wait for the lease, raise the epoch; who has it waits for ever."""
        self.join(engine_id, schedules=True)
        if self.tables.owner is self and self._epoch == self.tables.epoch:
            await self._until_lost()
        if self.tables.owner is not None and self.tables.owner is not self:
            future: Future[None] = asyncio.get_running_loop().create_future()
            self.tables.waiting.append((self, future))
            await future
        await asyncio.sleep(0)
        self.tables.owner = self
        self.tables.epoch += 1
        self._epoch = self.tables.epoch
        return Lease(0, self._epoch, None, self.tables.confirmed_until)

    async def _until_lost(self) -> None:
        waiter: Future[None] = asyncio.get_running_loop().create_future()
        self._losers.append(lambda partition: None if waiter.done() else waiter.set_result(None))
        await waiter

    async def release_lease(
        self, confirmed_until: datetime | None, partition: int = 0, heir: EngineId | None = None
    ) -> None:
        """Give it back."""
        await asyncio.sleep(0)
        if confirmed_until is not None:
            self.tables.confirmed_until = confirmed_until
        if self.tables.owner is self:
            self._pass_on()

    def _pass_on(self) -> None:
        self.tables.owner = None
        while self.tables.waiting:
            ledger, future = self.tables.waiting.popleft()
            if not future.done():
                self.tables.owner = ledger
                future.set_result(None)
                return

    async def load_live_tasks(self, partition: int | None = None) -> AsyncIterator[list[StoredTask]]:
        """Oldest first."""
        live = sorted(
            (stored for stored in self.tables.tasks.values() if not stored.status.state.final),
            key=lambda stored: stored.facts.id,
        )
        for at in range(0, len(live), _PAGE):
            await asyncio.sleep(0)
            yield live[at : at + _PAGE]

    async def load_finished_since(
        self, at: datetime, partition: int | None = None
    ) -> AsyncIterator[list[StoredTask]]:
        """What became final since then."""
        await asyncio.sleep(0)
        yield [
            stored
            for stored in self.tables.tasks.values()
            if stored.status.finished_at is not None and stored.status.finished_at >= at
        ]

    async def load_attempts_since(
        self, at: datetime, partition: int | None = None
    ) -> AsyncIterator[list[EndedAttempt]]:
        """What ended since then while its task went on."""
        await asyncio.sleep(0)
        yield [
            EndedAttempt(
                self.tables.tasks[task_id].facts,
                record,
                all(
                    earlier.outcome < AttemptOutcome.REPLAYED_COMPLETED
                    for earlier in records
                    if earlier.attempt < record.attempt
                ),
            )
            for task_id, records in self.tables.attempts.items()
            for record in records
            if record.ended_at >= at
        ]

    async def sweep(self, confirmed_until: datetime | None) -> list[Message]:
        """Take the messages."""
        await self._reach()
        owner = self._fence() is None
        if confirmed_until is not None and owner:
            self.tables.confirmed_until = confirmed_until
        taken: list[Message] = []
        left: list[Message] = []
        for message in self.tables.messages:
            mine = owner if message.engine_id is None else message.engine_id == self._engine_id
            (taken if mine else left).append(message)
        self.tables.messages = left
        for callback in self._lookers:
            callback(self.fleet)
        return taken

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Remember whom to wake."""
        self._wake.append(callback)

    def on_fleet(self, callback: Callable[[Fleet], None]) -> None:
        """Remember whom to tell of each sweep."""
        self._lookers.append(callback)

    def on_fenced(self, callback: Callable[[int], None]) -> None:
        """Remember whom to tell that the lease is gone."""
        self._losers.append(callback)

    def lose(self) -> None:
        """Another process takes the lease from this one, as after a cut of its connection."""
        self.tables.epoch += 1
        self.tables.owner = None
        self._epoch = -1
        batch, self._queue = self._queue, deque()
        for commit in batch:
            commit()
        for callback in list(self._losers):
            callback(0)

    def wake(self) -> None:
        """As a NOTIFY would."""
        for callback in self._wake:
            callback()


def _fits(facts: TaskFacts | RunFacts, state: TaskState, where: TaskFilter) -> bool:
    return (
        facts.created_at >= where.since
        and (where.until is None or facts.created_at < where.until)
        and (not where.states or state in where.states)
        and (not where.workflow_ids or facts.workflow_id in where.workflow_ids)
        and (not where.metadata or any(matches(facts.metadata, key, value) for key, value in where.metadata))
    )
