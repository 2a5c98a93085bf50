"""Clients that watch runs: what happens to their tasks, and the chunks that these stream."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from broadaxe.domain.errors import InvalidArgument, NotFound, ResourceExhausted
from broadaxe.domain.ids import TenantId
from broadaxe.domain.metadata import matches
from broadaxe.domain.run import RunEnd, RunFacts
from broadaxe.domain.task import TaskFacts, TaskState
from broadaxe.engine.api import RunEvent, RunEventKind
from broadaxe.engine.context import EngineContext
from broadaxe.engine.dispatch.stream_order import StreamOrder
from broadaxe.engine.gate import Gate
from broadaxe.engine.runs.live_run import LiveRun
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.timers import Timers

_TASK_ENDS = {
    TaskState.COMPLETED: RunEventKind.COMPLETED,
    TaskState.FAILED: RunEventKind.FAILED,
    TaskState.CANCELLED: RunEventKind.CANCELLED,
}
_RUN_ENDS = {
    TaskState.COMPLETED: RunEventKind.RUN_COMPLETED,
    TaskState.FAILED: RunEventKind.RUN_FAILED,
    TaskState.CANCELLED: RunEventKind.RUN_CANCELLED,
}
Pair = tuple[TenantId, str, str]


class Watch:
    """One watcher: an iteration over events that ends with a hang-up."""

    def __init__(self, tenant_id: TenantId, limit: int, leave: "Callable[[Watch], None]") -> None:
        self.tenant_id = tenant_id
        self._limit = limit
        self._leave = leave
        self._events: deque[RunEvent] = deque()
        self._waiter: Future[None] | None = None
        self._overrun = False
        self.open = True
        self.active: set[UUID] = set()
        """Runs it waits for."""

    def put(self, event: RunEvent) -> None:
        """Something happened. A watcher that does not keep up is cut off."""
        if not self.open:
            return
        if len(self._events) >= self._limit:
            self._overrun = True
            self.end()
            return
        self._events.append(event)
        self._wake()

    def end(self) -> None:
        """Nothing follows what waits."""
        if self.open:
            self.open = False
            self._leave(self)
            self._wake()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> RunEvent:
        while not self._events:
            if self._overrun:
                self._overrun = False
                raise ResourceExhausted("the watcher did not keep up; some events were dropped")
            if not self.open:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._events.popleft()

    async def aclose(self) -> None:
        """The client left."""
        self.end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class RunEvents:
    """Passes events on to watchers. Chunks are not stored: who watches later does not see them."""

    def __init__(self, context: EngineContext, gate: Gate, memory: Memory, timers: Timers) -> None:
        self._ledger = context.ledger
        self._options = context.options
        self._gate = gate
        self._memory = memory
        self._timers = timers
        self._by_run: dict[UUID, set[Watch]] = {}
        self._by_pair: dict[Pair, set[Watch]] = {}
        self._orders: dict[UUID, StreamOrder] = {}
        self._expected: dict[tuple[TenantId, UUID], list[Future[None]]] = {}

    def __len__(self) -> int:
        return len({watch for watches in self._by_run.values() for watch in watches})

    async def watch_run(self, tenant_id: TenantId, run_id: UUID) -> Watch:
        """Events of one run. NotFound when it does not appear for a while."""
        await self._gate.wait()
        watch = Watch(tenant_id, self._options.watch_buffer, self._leave)
        if not self._alive(tenant_id, run_id) and not await self._ledger.get_tasks(tenant_id, [run_id]):
            await self._appear(tenant_id, run_id)
        if not self._alive(tenant_id, run_id):
            watch.end()
        else:
            self._follow(watch, run_id)
        return watch

    async def watch_metadata(self, tenant_id: TenantId, key: str, value: str) -> Watch:
        """Events of all runs with this pair."""
        await self._gate.wait()
        watch = Watch(tenant_id, self._options.watch_buffer, self._leave)
        self._by_pair.setdefault((tenant_id, key, value), set()).add(watch)
        for run in list(self._memory.runs.values()):
            if run.facts.tenant_id == tenant_id and matches(run.facts.metadata, key, value):
                self._follow(watch, run.id)
        for live in list(self._memory.tasks.values()):
            if live.facts.tenant_id == tenant_id and matches(live.facts.metadata, key, value):
                self._follow(watch, live.facts.run_id)
        return watch

    async def put_stream_event(
        self, tenant_id: TenantId, task_id: UUID, at: datetime, chunk: bytes, index: int | None
    ) -> None:
        """A chunk of a task that runs. NotFound for an unknown one; of a finished one it is dropped."""
        await self._gate.wait(admit_draining=True)
        if index is not None and index < 0:
            raise InvalidArgument("event_index: must not be negative")
        live = self._memory.task(tenant_id, task_id)
        if live is None:
            if await self._ledger.get_task(tenant_id, task_id) is None:
                raise NotFound(f"task {task_id} not found")
            return
        event = RunEvent(
            kind=RunEventKind.STREAM,
            run_id=live.facts.run_id,
            task_id=task_id,
            at=at,
            attempt=live.status.attempt,
            payload=chunk,
            step_name=live.plan.step.name,
            event_index=index,
        )
        order = self._orders.get(task_id)
        if order is None:
            order = StreamOrder(
                self._timers, self._options.stream_gap, self._options.stream_held, self._publish
            )
            self._orders[task_id] = order
        order.put(event)

    # -- Watchers ---------------------------------------------------------------------------------------

    def created(self, live: LiveTask) -> None:
        """A task begins, and with it its run unless that has several."""
        if live.run is None:
            self._begins(live.facts)
        if live.facts.run_id in self._by_run:
            self._publish(self._event(live, RunEventKind.STARTED, live.status.queued_at, b""))

    def finished(self, live: LiveTask) -> None:
        """A run is over: its last chunks, its task's end, its own."""
        order = self._orders.pop(live.id, None)
        if order is not None:
            order.flush()
        watches = self._by_run.get(live.facts.run_id)
        if not watches:
            return
        status = live.status
        at = status.finished_at or status.queued_at
        payload = (status.output if status.state is TaskState.COMPLETED else status.error) or b""
        self._publish(self._event(live, _TASK_ENDS[status.state], at, payload))
        if live.run is None:
            self._ends(self._event(live, _RUN_ENDS[status.state], at, b""))

    def run_created(self, run: LiveRun) -> None:
        """A run of several steps begins, or goes on."""
        self._begins(run.facts)

    def run_finished(self, run: LiveRun, end: RunEnd) -> None:
        """A run of several steps is over."""
        self._ends(RunEvent(_RUN_ENDS[end.state], run.id, run.id, end.at, 0, b""))

    def close(self) -> None:
        """The process drains or lost the lease: every stream ends."""
        watches = {watch for some in self._by_run.values() for watch in some}
        for watch in watches | {watch for some in self._by_pair.values() for watch in some}:
            watch.end()
        for order in self._orders.values():
            order.flush()
        self._orders.clear()

    def close_for(self, gone: Callable[[TenantId], bool]) -> None:
        """The lease of some tenants is gone: their streams end."""
        watches = {watch for some in self._by_run.values() for watch in some}
        for watch in watches | {watch for some in self._by_pair.values() for watch in some}:
            if gone(watch.tenant_id):
                watch.end()
        for task_id in [one for one in self._orders if self._memory.tasks.get(one) is None]:
            self._orders.pop(task_id).flush()

    # -- the rest ---------------------------------------------------------------------------------------

    def _alive(self, tenant_id: TenantId, run_id: UUID) -> bool:
        memory = self._memory
        return memory.task(tenant_id, run_id) is not None or memory.run(tenant_id, run_id) is not None

    def _begins(self, facts: TaskFacts | RunFacts) -> None:
        """A run begins: who waited for it, or for its metadata, follows it."""
        for future in self._expected.pop((facts.tenant_id, facts.run_id), ()):
            if not future.done():
                future.set_result(None)
        for (tenant_id, key, value), watches in list(self._by_pair.items()):
            if tenant_id == facts.tenant_id and matches(facts.metadata, key, value):
                for watch in watches:
                    self._follow(watch, facts.run_id)

    def _ends(self, event: RunEvent) -> None:
        """A run is over; a watcher that waits for no other run hangs up."""
        for watch in list(self._by_run.get(event.run_id, ())):
            watch.active.discard(event.run_id)
            last = not watch.active
            watch.put(replace(event, hangup=last))
            if last:
                watch.end()
        self._by_run.pop(event.run_id, None)

    async def _appear(self, tenant_id: TenantId, run_id: UUID) -> None:
        key = (tenant_id, run_id)
        future: Future[None] = asyncio.get_running_loop().create_future()
        self._expected.setdefault(key, []).append(future)

        def expire() -> None:
            if not future.done():
                future.set_exception(NotFound(f"run {run_id} not found"))

        timer = self._timers.after(self._options.watch_wait, expire)
        try:
            await future
        finally:
            self._timers.cancel(timer)
            waiting = self._expected.get(key)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._expected[key]

    def _follow(self, watch: Watch, run_id: UUID) -> None:
        watch.active.add(run_id)
        self._by_run.setdefault(run_id, set()).add(watch)

    def _leave(self, watch: Watch) -> None:
        for run_id in watch.active:
            watches = self._by_run.get(run_id)
            if watches is not None:
                watches.discard(watch)
                if not watches:
                    del self._by_run[run_id]
        for pair, some in list(self._by_pair.items()):
            some.discard(watch)
            if not some:
                del self._by_pair[pair]

    def _publish(self, event: RunEvent) -> None:
        for watch in list(self._by_run.get(event.run_id, ())):
            watch.put(event)

    def _event(
        self, live: LiveTask, kind: RunEventKind, at: datetime, payload: bytes, hangup: bool = False
    ) -> RunEvent:
        return RunEvent(
            kind=kind,
            run_id=live.facts.run_id,
            task_id=live.id,
            at=at,
            attempt=live.status.attempt,
            payload=payload,
            step_name=live.plan.step.name,
            hangup=hangup,
        )
