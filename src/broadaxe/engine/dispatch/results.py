"""Clients that wait for the results of runs."""

import asyncio
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.domain.task import TaskFacts, TaskState, TaskStatus
from broadaxe.engine.api import RunFinished, TaskResult
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.scheduler.live import LiveTask
from broadaxe.engine.scheduler.memory import Memory
from broadaxe.engine.scheduler.timers import Timers
from broadaxe.engine.tracing import RunTraces, nanoseconds, run_context
from broadaxe.store.ledger import StoredTask
from broadaxe.telemetry.context import TraceContext

RunKey = tuple[TenantId, UUID]
_PAGE = 500


class Finished(NamedTuple):
    """A result on its way to a subscriber, with what its span needs."""

    result: RunFinished
    run: TraceContext
    finished_ns: int


def task_result(facts: TaskFacts, step_name: str, status: TaskStatus) -> TaskResult:
    """The end of a task as clients see it: a cancelled one has an empty error."""
    error = None if status.state is TaskState.COMPLETED else (status.error or b"")
    output = status.output if status.state is TaskState.COMPLETED else None
    return TaskResult(facts.id, step_name, status.state, output, error)


class Subscription:
    """One client's pooled wait. Implements `engine.api.RunSubscription`."""

    def __init__(self, owner: "RunResults", tenant_id: TenantId, limit: int) -> None:
        self._owner = owner
        self._tenant_id = tenant_id
        self._limit = limit
        self._ready: deque[Finished] = deque()
        self._later: OrderedDict[UUID, None] = OrderedDict()
        """Finished, but there was no room: asked for again when there is."""
        self._waiter: Future[None] | None = None
        self.pending: set[UUID] = set()
        self.open = True

    def add(self, run_id: UUID) -> None:
        """Watch a run."""
        if self.open and run_id not in self.pending:
            self.pending.add(run_id)
            self._owner.watch(self, self._tenant_id, run_id)

    def close(self) -> None:
        """End the iteration."""
        if self.open:
            self.open = False
            self._owner.leave(self, self._tenant_id)
            self._wake()

    def deliver(self, finished: Finished) -> None:
        """A watched run is final. Each is delivered once."""
        run_id = finished.result.run_id
        if run_id not in self.pending:
            return
        self.pending.discard(run_id)
        if len(self._ready) >= self._limit:
            self._later[run_id] = None
        else:
            self._ready.append(finished)
        self._wake()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> RunFinished:
        while not self._ready:
            if not self.open:
                raise StopAsyncIteration
            if self._later:
                self.add(self._later.popitem(last=False)[0])
                continue
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        finished = self._ready.popleft()
        self._owner.delivered(finished)
        return finished.result

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class RunResults:
    """Answers subscribers: from the event of the end, from the results kept a while, or from rows."""

    def __init__(
        self,
        context: EngineContext,
        memory: Memory,
        timers: Timers,
        catalog: Catalog,
        traces: RunTraces,
        background: Background,
    ) -> None:
        self._ledger = context.ledger
        self._options = context.options
        self._memory = memory
        self._timers = timers
        self._catalog = catalog
        self._traces = traces
        self._background = background
        self._waiting: dict[RunKey, list[Subscription]] = {}
        self._kept: OrderedDict[RunKey, Finished] = OrderedDict()
        self._kept_bytes = 0
        self._asked: dict[TenantId, dict[UUID, None]] = {}
        self._all: set[Subscription] = set()
        self.want: Callable[[TenantId, Sequence[UUID]], None] = lambda tenant_id, ids: None
        """Ask for the ends of runs of a tenant that another engine schedules."""
        self.owns: Callable[[TenantId], bool] = lambda tenant_id: True

    def __len__(self) -> int:
        return len(self._all)

    def subscribe(self, tenant_id: TenantId) -> Subscription:
        """A new wait."""
        subscription = Subscription(self, tenant_id, self._options.results_buffer)
        self._all.add(subscription)
        return subscription

    # -- for subscriptions ------------------------------------------------------------------------------

    def watch(self, subscription: Subscription, tenant_id: TenantId, run_id: UUID) -> None:
        """Answer at once if it is over, else when it is."""
        key = (tenant_id, run_id)
        kept = self._kept.get(key)
        if kept is not None:
            subscription.deliver(kept)
            return
        self._waiting.setdefault(key, []).append(subscription)
        if self._memory.task(tenant_id, run_id) is None:
            self.want(tenant_id, (run_id,))
            self._ask(tenant_id, (run_id,))

    def leave(self, subscription: Subscription, tenant_id: TenantId) -> None:
        """It waits for nothing any more."""
        self._all.discard(subscription)
        for run_id in subscription.pending:
            waiting = self._waiting.get((tenant_id, run_id))
            if waiting is not None and subscription in waiting:
                waiting.remove(subscription)
                if not waiting:
                    del self._waiting[(tenant_id, run_id)]

    def delivered(self, finished: Finished) -> None:
        """It was handed to the transport."""
        if finished.run.sampled:
            self._traces.delivered(finished.run, finished.result, finished.finished_ns)

    # -- Watchers ---------------------------------------------------------------------------------------

    def created(self, live: LiveTask) -> None:
        """A run begins, or begins again: what was kept of its earlier end is out of date."""
        kept = self._kept.pop((live.facts.tenant_id, live.facts.run_id), None)
        if kept is not None:
            self._kept_bytes -= _size(kept)

    def finished(self, live: LiveTask) -> None:
        """A run is over."""
        self._finish(live.facts, live.plan.step.name, live.status)

    def recheck(self) -> None:
        """Memory was rebuilt: what ended meanwhile is found in the rows."""
        by_tenant: dict[TenantId, list[UUID]] = {}
        for tenant_id, run_id in self._waiting:
            if self._memory.task(tenant_id, run_id) is None:
                by_tenant.setdefault(tenant_id, []).append(run_id)
        for tenant_id, ids in by_tenant.items():
            self.want(tenant_id, ids)
            self._ask(tenant_id, ids)

    async def look(self, tenant_id: TenantId, ids: Sequence[UUID], *, again: bool) -> None:
        """Runs may have ended elsewhere. `again`: ask anew for those that have not."""
        waiting = [run_id for run_id in ids if (tenant_id, run_id) in self._waiting]
        if not waiting:
            return
        for stored in await self._ledger.get_tasks(tenant_id, waiting):
            await self._found(stored)
        left = [run_id for run_id in waiting if (tenant_id, run_id) in self._waiting]
        if again and left:
            self.want(tenant_id, left)

    def forget(self) -> None:
        """The lease is gone: another process may run things again."""
        self._kept.clear()
        self._kept_bytes = 0

    def close(self) -> None:
        """The process drains: every stream ends."""
        for subscription in list(self._all):
            subscription.close()

    def _finish(self, facts: TaskFacts, step_name: str, status: TaskStatus) -> None:
        key = (facts.tenant_id, facts.run_id)
        result = RunFinished(facts.run_id, (task_result(facts, step_name, status),))
        ended = nanoseconds(status.finished_at) if status.finished_at is not None else 0
        finished = Finished(result, run_context(facts), ended)
        if self.owns(facts.tenant_id):
            # Elsewhere it may run again without a word to this engine.
            self._keep(key, finished)
        for subscription in self._waiting.pop(key, ()):
            subscription.deliver(finished)

    def _keep(self, key: RunKey, finished: Finished) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            self._kept_bytes -= _size(before)
        size = _size(finished)
        if size > self._options.finished_bytes // 16:
            return
        self._kept[key] = finished
        self._kept_bytes += size
        while (
            len(self._kept) > self._options.finished_kept or self._kept_bytes > self._options.finished_bytes
        ):
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= _size(dropped)

    def _ask(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        """Look the runs up in the rows: all that are asked for in one turn with one statement."""
        asked = self._asked.get(tenant_id)
        if asked is None:
            asked = self._asked[tenant_id] = {}
            self._background.spawn(self._look_up(tenant_id), "looking up finished runs")
        asked.update(dict.fromkeys(ids))

    async def _look_up(self, tenant_id: TenantId) -> None:
        ids = list(self._asked.pop(tenant_id))
        for at in range(0, len(ids), _PAGE):
            try:
                for stored in await self._ledger.get_tasks(tenant_id, ids[at : at + _PAGE]):
                    await self._found(stored)
            except BroadaxeError:
                # Who waits goes on waiting: the rows are asked again when the database may be back.
                rest = ids[at:]
                self._timers.after(self._options.retry_write, partial(self._ask_again, tenant_id, rest))
                return

    def _ask_again(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        waiting = [run_id for run_id in ids if (tenant_id, run_id) in self._waiting]
        if waiting:
            self._ask(tenant_id, waiting)

    async def _found(self, stored: StoredTask) -> None:
        if not stored.status.state.final:
            return
        facts = stored.facts
        plan = await self._catalog.version(facts.tenant_id, facts.version_id)
        live = self._memory.task(facts.tenant_id, facts.id)
        if live is None and (facts.tenant_id, facts.run_id) in self._waiting:
            self._finish(facts, plan.step.name if plan is not None else "", stored.status)


def _size(finished: Finished) -> int:
    return 256 + sum(len(item.output or b"") + len(item.error or b"") for item in finished.result.results)
