"""Clients that wait for the results of runs."""

import asyncio
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from broadaxe.domain.errors import BroadaxeError
from broadaxe.domain.ids import TenantId
from broadaxe.domain.run import RunEnd, RunFacts
from broadaxe.domain.task import TaskFacts, TaskState, TaskStatus
from broadaxe.engine.api import RunFinished, TaskResult
from broadaxe.engine.background import Background
from broadaxe.engine.context import EngineContext
from broadaxe.engine.ingest.catalog import Catalog
from broadaxe.engine.runs.live_run import LiveRun
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
    return TaskResult(facts.id, step_name, status.state, *_shown(status.state, status.output, status.error))


def _shown(state: TaskState, output: bytes | None, error: bytes | None) -> tuple[bytes | None, bytes | None]:
    """Output and error as clients see them."""
    done = state is TaskState.COMPLETED
    return (output, None) if done else (None, error or b"")


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
        if not self._alive(tenant_id, run_id):
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
        """A run of one task is over."""
        if live.run is None:
            result = task_result(live.facts, live.plan.step.name, live.status)
            self._finish(live.facts, (result,), live.status.finished_at)

    def run_created(self, run: LiveRun) -> None:
        """A run of several steps begins, or goes on."""
        kept = self._kept.pop((run.facts.tenant_id, run.facts.id), None)
        if kept is not None:
            self._kept_bytes -= _size(kept)

    def run_finished(self, run: LiveRun, end: RunEnd) -> None:
        """A run of several steps is over."""
        tenant_id = run.facts.tenant_id
        if all(one.kept for one in run.ends.values()):
            steps = [(run.dag.name(at), one) for at, one in sorted(run.ends.items())]
            results = tuple(
                TaskResult(one.task_id, name, one.state, *_shown(one.state, one.output, one.error))
                for name, one in steps
            )
            self._finish(run.facts, results, end.at)
        elif (tenant_id, run.facts.id) in self._waiting:
            self._ask(tenant_id, (run.facts.id,))

    def _alive(self, tenant_id: TenantId, run_id: UUID) -> bool:
        memory = self._memory
        return memory.task(tenant_id, run_id) is not None or memory.run(tenant_id, run_id) is not None

    def recheck(self) -> None:
        """Memory was rebuilt: what ended meanwhile is found in the rows."""
        by_tenant: dict[TenantId, list[UUID]] = {}
        for tenant_id, run_id in self._waiting:
            if not self._alive(tenant_id, run_id):
                by_tenant.setdefault(tenant_id, []).append(run_id)
        for tenant_id, ids in by_tenant.items():
            self.want(tenant_id, ids)
            self._ask(tenant_id, ids)

    def ask_for(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        """Runs ended by what was written here: look at the rows of those that are waited for."""
        self._ask_again(tenant_id, ids)

    async def look(self, tenant_id: TenantId, ids: Sequence[UUID], *, again: bool) -> None:
        """Runs may have ended elsewhere. `again`: ask anew for those that have not."""
        waiting = [run_id for run_id in ids if (tenant_id, run_id) in self._waiting]
        if not waiting:
            return
        await self._found_all(tenant_id, await self._ledger.get_tasks(tenant_id, waiting))
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

    def _finish(
        self, facts: TaskFacts | RunFacts, results: tuple[TaskResult, ...], at: datetime | None
    ) -> None:
        key = (facts.tenant_id, facts.run_id)
        result = RunFinished(facts.run_id, results)
        ended = nanoseconds(at) if at is not None else 0
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
                rows = await self._ledger.get_tasks(tenant_id, ids[at : at + _PAGE])
                await self._found_all(tenant_id, rows)
            except BroadaxeError:
                # Who waits goes on waiting: the rows are asked again when the database may be back.
                rest = ids[at:]
                self._timers.after(self._options.retry_write, partial(self._ask_again, tenant_id, rest))
                return

    def _ask_again(self, tenant_id: TenantId, ids: Sequence[UUID]) -> None:
        waiting = [run_id for run_id in ids if (tenant_id, run_id) in self._waiting]
        if waiting:
            self._ask(tenant_id, waiting)

    async def _found_all(self, tenant_id: TenantId, rows: Sequence[StoredTask]) -> None:
        steps: dict[UUID, list[StoredTask]] = {}
        for stored in rows:
            if stored.facts.run_id == stored.facts.id:
                await self._found(stored)
            else:
                steps.setdefault(stored.facts.run_id, []).append(stored)
        await self._found_runs(tenant_id, steps)

    async def _found_runs(self, tenant_id: TenantId, steps: dict[UUID, list[StoredTask]]) -> None:
        waited = [run_id for run_id in steps if (tenant_id, run_id) in self._waiting]
        if not waited:
            return
        for run in await self._ledger.get_runs(tenant_id, waited):
            facts = run.facts
            plan = await self._catalog.version(tenant_id, facts.version_id)
            waits = (tenant_id, facts.id) in self._waiting
            if run.end is None or not waits or self._alive(tenant_id, facts.id):
                continue
            dag = None if plan is None else plan.dag
            if dag is None:
                continue
            found = [(dag.position(one.facts.step_id), one) for one in steps[facts.id]]
            results = [
                (at, task_result(one.facts, dag.name(at), one.status)) for at, one in found if at is not None
            ]
            results.sort(key=lambda pair: pair[0])
            self._finish(facts, tuple(result for _, result in results), run.end.at)

    async def _found(self, stored: StoredTask) -> None:
        if not stored.status.state.final:
            return
        facts = stored.facts
        plan = await self._catalog.version(facts.tenant_id, facts.version_id)
        live = self._memory.task(facts.tenant_id, facts.id)
        if live is None and (facts.tenant_id, facts.run_id) in self._waiting:
            name = plan.step.name if plan is not None else ""
            self._finish(facts, (task_result(facts, name, stored.status),), stored.status.finished_at)


def _size(finished: Finished) -> int:
    return 256 + sum(len(item.output or b"") + len(item.error or b"") for item in finished.result.results)
