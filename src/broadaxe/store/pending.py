"""Operations that wait for the group commit, and the queue they wait in."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError, ResourceExhausted, Unavailable
from broadaxe.domain.ids import EngineId
from broadaxe.store.event_ledger import NewEvent
from broadaxe.store.ledger import LogLine, NewTask, TaskChange, TaskWrite
from broadaxe.store.run_ledger import NewRun, RunChange
from broadaxe.store.schedule_ledger import SkipRecord
from broadaxe.telemetry.context import TraceContext

ROW_OVERHEAD = 400
"""Bytes that an item is counted with beside its payloads."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a transaction must still find in a lease's row."""

    partition: int
    epoch: int
    engine_id: EngineId


@dataclass(slots=True, eq=False)
class Pending:
    """One call that waits: it is committed, or refused, as a whole."""

    future: "asyncio.Future[Any]"
    size: int
    submitted_ns: int
    deadline: float
    """Loop time; past it the call is given up unless it is in flight."""
    patient: bool
    """Whether the deadline is the store's own limit, not the caller's."""
    tasks: Sequence[NewTask | NewRun] = ()
    write: TaskWrite | None = None
    run_change: RunChange | None = None
    """What follows from `write` if that is there, else a change by itself."""
    lines: Sequence[LogLine] = ()
    event: NewEvent | None = None
    skips: Sequence[SkipRecord] = ()
    change: TaskChange | None = None
    partition: int | None = None
    """Whose lease fences it; None for what any engine may write."""
    count: int = 1
    parents: Sequence[TraceContext] = ()
    """What the commit belongs to, for each member whose trace is recorded."""

    @property
    def task_ids(self) -> Sequence[UUID]:
        """The rows it changes."""
        own: tuple[UUID, ...] = () if self.write is None else (self.write.task_id,)
        if self.run_change is not None and self.run_change.writes:
            return (*own, *(write.task_id for write in self.run_change.writes))
        return self.change.ids if self.change is not None else own

    def resolve(self, result: object) -> None:
        """Answers the caller, who may have gone."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: BroadaxeError) -> None:
        """Answers the caller with an error."""
        if not self.future.done():
            self.future.set_exception(error)


def size_of_task(task: NewTask | NewRun) -> int:
    """Bytes that a new task or run is counted with."""
    if isinstance(task, NewRun):
        size = 2 * ROW_OVERHEAD + len(task.facts.input) + len(task.facts.metadata)
        size += len(task.facts.triggers or b"")
        return size + sum(map(size_of_task, task.tasks)) + ROW_OVERHEAD * len(task.waits)
    facts, status = task.facts, task.status
    extra = len(status.output or b"") + len(status.error or b"") + len(facts.desired_labels or b"")
    extra += len(facts.triggers or b"")
    return ROW_OVERHEAD + len(facts.input) + len(facts.metadata) + extra


def size_of_event(new: NewEvent) -> int:
    """Bytes that an event is counted with."""
    size = ROW_OVERHEAD + len(new.event.payload) + len(new.event.metadata)
    return size + len(new.links) * ROW_OVERHEAD // 4 + sum(len(one.message) for one in new.failures)


def size_of_write(write: TaskWrite) -> int:
    """Bytes that a state change is counted with."""
    size = ROW_OVERHEAD + len(write.status.output or b"") + len(write.status.error or b"")
    if write.record is not None:
        size += ROW_OVERHEAD + len(write.record.output or b"") + len(write.record.error or b"")
    return size + sum(ROW_OVERHEAD // 4 + len(note.message) for note in write.notes)


def size_of_change(change: RunChange) -> int:
    """Bytes that a run's change is counted with."""
    size = ROW_OVERHEAD * (1 + len(change.opened)) + sum(map(size_of_task, change.tasks))
    return size + sum(map(size_of_write, change.writes)) + sum(ROW_OVERHEAD + len(m.data) for m in change.met)


class PendingQueue:
    """First in, first out, bounded by bytes; lazy operations wait for others to ride with.

    `work` is set while something should be committed.
    """

    def __init__(self, max_bytes: int, max_batch_ops: int, max_batch_bytes: int) -> None:
        self.work = asyncio.Event()
        self._max_bytes = max_bytes
        self._max_batch_ops = max_batch_ops
        self._max_batch_bytes = max_batch_bytes
        self._ready: deque[Pending] = deque()
        self._lazy: deque[Pending] = deque()
        self._held = 0
        self._reaper: asyncio.TimerHandle | None = None
        self._riser: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ready) + len(self._lazy)

    @property
    def held_bytes(self) -> int:
        """Bytes of all that waits or is in flight."""
        return self._held

    def put(self, op: Pending, lazy: float | None = None) -> None:
        """Adds an operation. ResourceExhausted when too much waits already."""
        if self._held and self._held + op.size > self._max_bytes:
            raise ResourceExhausted("Too much waits to be stored; try again later.")
        self._held += op.size
        loop = asyncio.get_running_loop()
        if lazy is None:
            self._ready.append(op)
            self.work.set()
        else:
            self._lazy.append(op)
            if self._riser is None:
                self._riser = loop.call_later(lazy, self._rise)
        if self._reaper is None:
            self._reaper = loop.call_at(op.deadline, self._reap)
        elif op.deadline < self._reaper.when():
            self._reaper.cancel()
            self._reaper = loop.call_at(op.deadline, self._reap)

    def _rise(self) -> None:
        self._riser = None
        if self._lazy:
            self.work.set()

    def release(self, op: Pending) -> None:
        """The operation was answered: its bytes are free."""
        self._held -= op.size

    def give_back(self, ops: Sequence[Pending]) -> None:
        """Puts operations that were certainly not committed back to the front."""
        self._ready.extendleft(reversed(ops))
        if self._ready:
            self.work.set()
        self._rearm()

    def take(self) -> list[Pending]:
        """The next batch: all that waits, within the limits, and no task twice."""
        batch: list[Pending] = []
        count = size = 0
        seen: set[UUID] = set()
        spilled: list[Pending] = []
        for queue in (self._lazy, self._ready):
            while queue:
                op = queue[0]
                full = count + op.count > self._max_batch_ops or size + op.size > self._max_batch_bytes
                if batch and full:
                    break
                queue.popleft()
                ids = op.task_ids
                if ids and not seen.isdisjoint(ids):
                    spilled.append(op)
                    # What comes after it for the same rows must not overtake it.
                    seen.update(ids)
                    continue
                seen.update(ids)
                batch.append(op)
                count += op.count
                size += op.size
        self._ready.extendleft(reversed(spilled))
        if self._riser is not None:
            self._riser.cancel()
            self._riser = None
        if not self._ready and not self._lazy:
            self.work.clear()
        return batch

    def _rearm(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        waiting = [op.deadline for queue in (self._ready, self._lazy) for op in queue]
        if waiting:
            self._reaper = asyncio.get_running_loop().call_at(min(waiting), self._reap)

    def _reap(self) -> None:
        """Gives up what waited too long."""
        now = asyncio.get_running_loop().time()
        self._reaper = None
        for queue in (self._ready, self._lazy):
            late = [op for op in queue if op.deadline <= now]
            for op in late:
                queue.remove(op)
                self.release(op)
                if op.patient:
                    op.fail(ResourceExhausted("The database was away for too long."))
                else:
                    op.fail(Unavailable("The database cannot be reached now."))
        if not self._ready and not self._lazy:
            self.work.clear()
        self._rearm()

    def fail_partition(self, partition: int, make: Callable[[], BroadaxeError]) -> None:
        """Answers what waits for one lease with an error."""
        for queue in (self._ready, self._lazy):
            for op in [op for op in queue if op.partition == partition]:
                queue.remove(op)
                self.release(op)
                op.fail(make())
        if not self._ready and not self._lazy:
            self.work.clear()
        self._rearm()

    def fail_all(self, make: Callable[[], BroadaxeError]) -> None:
        """Answers everything that waits with an error."""
        for queue in (self._ready, self._lazy):
            while queue:
                op = queue.popleft()
                self.release(op)
                op.fail(make())
        for timer in (self._reaper, self._riser):
            if timer is not None:
                timer.cancel()
        self._reaper = self._riser = None
        self.work.clear()
